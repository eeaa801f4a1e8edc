"""Options that several commands share; filters and sizes in docker's syntax.

Source: docker's command-line reference, "Filtering" of the prune commands.
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeVar

import click

from ocitool import go_values
from ocitool.cli.completion.values import files
from ocitool.cli.options import before_command
from ocitool.cli.options.goflags import BOOL
from ocitool.errors import FormatError
from ocitool.go_values import size_of
from ocitool.oci.timestamps import SECOND, parse_epoch
from ocitool.store.maintenance.filters import Filters, Label

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _isolate(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.obj = replace(context.obj, isolation=_THEIRS.get(value, value))


#: What docker and buildah call them; theirs is by namespaces, as root and as any user.
_THEIRS: Final = {"default": "auto", "oci": "namespaces", "rootless": "namespaces"}


def _debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.obj = replace(context.obj, debug=True)


def comma_separated(
    context: click.Context, parameter: click.Parameter, words: Sequence[str]
) -> tuple[str, ...]:
    """Return the values in *words*, each of which may have several, as with buildah and podman."""
    return tuple(value for word in words for value in word.split(","))


debug_option = click.option(
    "-D", "--debug", is_flag=True, expose_value=False, callback=_debug, hidden=True,
    help="Show debug messages, and tracebacks of errors",
)  # fmt: skip


isolation_option = click.option(
    "--isolation",
    metavar="NAME",
    expose_value=False,
    callback=_isolate,
    help="Isolation of containers: auto, namespaces, chroot, or the name of a plugin"
    "  [env: OCITOOL_ISOLATION]",
)

progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "tty", "json", "quiet"]),
    default="auto",
    show_default=True,
    help="Type of progress output on stderr",
)

#: Of ``build``, which takes the type from the variable of BuildKit, too.
build_progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "plain", "tty", "json", "rawjson", "quiet", "none"]),
    default="auto",
    envvar="BUILDKIT_PROGRESS",
    help="Type of progress output on stderr; rawjson is BuildKit's format; none also hides warnings"
    "  [env: BUILDKIT_PROGRESS]  [default: auto]",
)

insecure_option = click.option(
    "--tls-verify",
    type=BOOL,
    default=True,
    metavar="BOOL",
    help="Require HTTPS (except on loopback) and verify certificates  [default: true]",
)


def _there(context: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    if path and not os.path.exists(path):
        raise click.UsageError(f"--authfile {path}: no such file")
    return path


_authfile: Final = functools.partial(
    click.option,
    "--authfile",
    metavar="FILE",
    shell_complete=files,
    help="Path of the authentication file  [env: REGISTRY_AUTH_FILE]",
)

#: Of ``login`` and ``logout``, which write the file.
written_authfile_option = _authfile()

authfile_option = _authfile(callback=_there)


def transfer_options(command: _Command) -> _Command:
    """Give a command the options of pull and push."""
    hidden = before_command.after_command
    for option in (authfile_option, insecure_option, progress_option, silent_option, *hidden):
        command = option(command)
    return command


platform_option = click.option(
    "--platform",
    metavar="OS/ARCH[/VARIANT]",
    envvar="DOCKER_DEFAULT_PLATFORM",
    help="Platform to select from a multi-platform image  [env: DOCKER_DEFAULT_PLATFORM]"
    "  [default: this machine's]",
)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Only print image IDs")

silent_option = click.option("-q", "--quiet", is_flag=True, help="Only print the name")


def _format_option(*names: str) -> Callable[[_Command], _Command]:
    text = "Output format: 'json', a field name, or a Go template"
    return click.option(*names, "format_", metavar="FORMAT", help=text)


format_option = _format_option("--format")

short_format_option = _format_option("-f", "--format")

no_trunc_option = click.option("--no-trunc", is_flag=True, help="Do not truncate output")


def epoch_of_environment() -> int | None:
    """Return SOURCE_DATE_EPOCH of the environment, in seconds; None if it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    return parse_epoch(text)


def parse_seconds(context: click.Context, parameter: click.Parameter, text: str) -> int | None:
    """Parse the value of an option as seconds since the epoch; None for an empty one."""
    try:
        return parse_epoch(text) if text else None
    except FormatError:
        raise click.BadParameter(
            f"{text!r} is not a number of seconds since 1970, before the year 10000"
        ) from None


_LONGEST = 64  # characters of a time or a size
_UNIX = re.compile(r"(\d+)(?:\.(\d{1,9}))?")
_DAY_AND_ZONE = re.compile(r"(\d{4}-\d\d-\d\d)(Z|[+-]\d\d:\d\d)")


def parse_filters(texts: Sequence[str]) -> Filters:
    """Parse filters ``until=``, ``label=`` and ``label!=``; `UsageError` for any other."""
    until: int | None = None
    labels: list[Label] = []
    without: list[Label] = []
    for text in filter(None, texts):  # as docker: an empty one does not count
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise click.UsageError(f"invalid filter {text!r}: expected KEY=VALUE")
        if key == "until":
            if until is not None:
                raise click.UsageError("more than one filter 'until'")
            until = _timestamp(value)
        elif key == "label":
            labels.append(_label(value))
        elif key == "label!":
            without.append(_label(value))
        else:
            raise click.UsageError(
                f"unknown filter {key!r}: supported filters are until, label and label!"
            )
    return Filters(until=until, labels=tuple(labels), without=tuple(without))


def _label(text: str) -> Label:
    key, equals, value = text.partition("=")
    return Label(key, value if equals else None)


def _timestamp(text: str) -> int:
    """Parse a duration before now in Go's syntax, seconds since the epoch, or a date."""
    if len(text) > _LONGEST:
        raise _invalid_time(f"{text[:_LONGEST]}...")
    if unix := _UNIX.fullmatch(text):
        return int(unix[1]) * SECOND + int((unix[2] or "").ljust(9, "0"))
    if (duration := _duration(text)) is not None:
        return time.time_ns() - duration
    if day := _DAY_AND_ZONE.fullmatch(text):
        text = f"{day[1]}T00:00:00{day[2]}"
    try:
        return round(datetime.fromisoformat(text).timestamp() * SECOND)  # local time without a zone
    except ValueError:
        raise _invalid_time(text) from None


def _invalid_time(text: str) -> click.UsageError:
    return click.UsageError(
        f"invalid time {text!r}: use 24h, 2026-01-31, 2026-01-31T10:20:30Z, or seconds"
    )


def parse_duration(context: click.Context, parameter: click.Parameter, text: str) -> float | None:
    """Parse the value of an option as a duration, ``2s`` or ``1m30s``; None for an empty one."""
    if not text:
        return None
    duration = _duration(text)
    if duration is None:
        raise click.UsageError(f"invalid duration {text[:_LONGEST]!r}: use 2s, 500ms or 1m30s")
    return duration / SECOND


def _duration(text: str) -> int | None:
    """Return the nanoseconds of a duration without a sign; None if *text* is something else."""
    if len(text) > _LONGEST or text.startswith(("-", "+")):
        return None
    try:
        return go_values.parse_duration(text)
    except FormatError:
        return None


def parse_size(text: str, option: str) -> int:
    """Parse what *option* has: bytes, or units that are powers of 1024: ``10GB``, ``512m``."""
    size = size_of(text.strip())
    if size is None:
        shown = f"invalid size {text[:_LONGEST]!r} for {option}"
        raise click.UsageError(f"{shown}: use 10GB, 512m, or bytes")
    return size
