"""Options that several commands share; ``--filter`` and sizes as docker takes them.

Source: docker's command-line reference, "Filtering" of the prune commands.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from datetime import datetime

import click

from ocitool.oci.timestamps import SECOND, parse_epoch
from ocitool.store.maintenance.filters import Filters, Label

progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "tty", "json", "quiet"]),
    default="auto",
    show_default=True,
    help="How progress is shown, on stderr.",
)

insecure_option = click.option(
    "--tls-verify",
    type=click.BOOL,
    default=True,
    show_default="true",
    metavar="BOOL",
    help="Check certificates, and refuse plain HTTP but on loopback.",
)

authfile_option = click.option(
    "--authfile", metavar="FILE", help="Take credentials from FILE alone."
)

platform_option = click.option(
    "--platform", metavar="OS/ARCH", help="Of several platforms this one.  [default: this machine]"
)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print only ids.")

format_option = click.option(
    "--format", "format_", metavar="FORMAT",
    help="'json', a field's path, or a template as docker's: '{{.ID}}'.",
)  # fmt: skip

no_trunc_option = click.option("--no-trunc", is_flag=True, help="Print ids whole.")


def source_date_epoch() -> int | None:
    """Return what SOURCE_DATE_EPOCH in the environment says, in seconds; None if it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    return parse_epoch(text)


_UNITS = {
    "ns": 1, "us": 1000, "µs": 1000, "ms": 1_000_000,
    "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND,
}  # fmt: skip
_LONGEST = 64  # characters of a time or size; no sensible one comes near
_SPAN = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIX = re.compile(r"(\d+)(?:\.(\d{1,9}))?")
_DAY_AND_ZONE = re.compile(r"(\d{4}-\d\d-\d\d)(Z|[+-]\d\d:\d\d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)


def parse_filters(texts: Sequence[str]) -> Filters:
    """Read ``until=``, ``label=`` and ``label!=``; a usage error if it is another one."""
    until: int | None = None
    labels: list[Label] = []
    without: list[Label] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise click.UsageError(f"a filter is KEY=VALUE, not {text!r}")
        if key == "until":
            if until is not None:
                raise click.UsageError("there is more than one filter 'until'")
            until = _moment(value)
        elif key == "label":
            labels.append(_label(value))
        elif key == "label!":
            without.append(_label(value))
        else:
            raise click.UsageError(f"there is no filter {key!r}: until, label and label! are")
    return Filters(until=until, labels=tuple(labels), without=tuple(without))


def _label(text: str) -> Label:
    key, equals, value = text.partition("=")
    return Label(key, value if equals else None)


def _moment(text: str) -> int:
    """Read a span of time before now as Go writes it, seconds since the epoch, or a date."""
    if len(text) > _LONGEST:
        raise _no_time(f"{text[:_LONGEST]}...")
    if unix := _UNIX.fullmatch(text):
        return int(unix[1]) * SECOND + int((unix[2] or "").ljust(9, "0"))
    if not _SPAN.sub("", text):
        spans = _SPAN.findall(text)
        return time.time_ns() - round(sum(float(number) * _UNITS[unit] for number, unit in spans))
    if day := _DAY_AND_ZONE.fullmatch(text):
        text = f"{day[1]}T00:00:00{day[2]}"
    try:
        return round(datetime.fromisoformat(text).timestamp() * SECOND)  # local, if without zone
    except ValueError:
        raise _no_time(text) from None


def _no_time(text: str) -> click.UsageError:
    return click.UsageError(
        f"{text!r} is not a valid time: write 24h, 2026-01-31, 2026-01-31T10:20:30Z, or seconds"
    )


def parse_size(text: str) -> int:
    """Read a size in bytes, or with a unit of 1024: ``10GB``, ``512m``."""
    match = _SIZE.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None:
        raise click.UsageError(
            f"{text[:_LONGEST]!r} is not a valid size: write 10GB, 512m, or bytes"
        )
    power = "kmgtp".find(match[2].lower()) + 1 if match[2] else 0
    return int(float(match[1]) * 1024**power)
