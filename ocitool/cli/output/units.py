"""Sizes, durations and timestamps in human-readable form, as docker prints them.

A timestamp is an ``int``: nanoseconds since 1970-01-01T00:00:00Z.  RFC 3339 in image configs
has nine digits of a second, three more than ``datetime`` can hold.

Source of the wording: github.com/docker/go-units, size.go and duration.go.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from ocitool.oci.timestamps import SECOND

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# -- sizes ---------------------------------------------------------------------------------


def human_size(size: float, precision: int = 4) -> str:
    """Return *size* bytes in units of 1000, ``"1.984MB"``; lists use *precision* 3.

    Unlike docker, a value rounded to 1000 is printed in the next unit: ``"1MB"``, where docker
    prints ``"1e+03kB"``.
    """
    value, unit = float(size), 0
    while unit < len(_UNITS) - 1 and float(f"{abs(value):.{precision}g}") >= 1000:
        value, unit = value / 1000, unit + 1
    text = f"{value:.{precision}g}"
    if "e" in text:  # beyond the last unit, or a fraction of a byte
        text = f"{value:.0f}"
    return text + _UNITS[unit]


# -- durations -----------------------------------------------------------------------------


def human_duration(seconds: float) -> str:
    """Return a duration in words: ``"About an hour"``, ``"3 weeks"``."""
    whole, minutes = int(seconds), int(seconds / 60)
    if whole < 60:
        return _below_a_minute(whole)
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, size, name in _STEPS:
        if hours < limit:
            return f"{hours // size} {name}"
    return f"{int(seconds / 3600) // 24 // 365} years"


_STEPS = (
    (48, 1, "hours"),
    (24 * 7 * 2, 24, "days"),
    (24 * 30 * 2, 24 * 7, "weeks"),
    (24 * 365 * 2, 24 * 30, "months"),
)


def _below_a_minute(seconds: int) -> str:
    if seconds < 1:
        return "Less than a second"
    return "1 second" if seconds == 1 else f"{seconds} seconds"


def ago(timestamp: int, now: int | None = None) -> str:
    """Return how long before *now* (default: the clock) *timestamp* is: ``"2 minutes ago"``."""
    reference = time.time_ns() if now is None else now
    return human_duration((reference - timestamp) / SECOND) + " ago"


def clock(seconds: float) -> str:
    """Return an elapsed time in short form: ``"0.4s"``, ``"12.3s"``, ``"2m05s"``, ``"1h02m"``."""
    if seconds < 99.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


# -- timestamps ----------------------------------------------------------------------------


def format_time(timestamp: int) -> str:
    """Return *timestamp* as RFC 3339 in UTC, the fraction without trailing zeros, as Go does."""
    seconds, nanoseconds = divmod(timestamp, SECOND)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return (
        f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + fraction + "Z"
    )


def local_time(timestamp: int) -> str:
    """Return *timestamp* as docker's ``CreatedAt``: ``"2024-05-01 10:20:30 +0000 UTC"``."""
    local = (_EPOCH + timedelta(seconds=timestamp // SECOND)).astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S %z %Z}"


def rfc3339(timestamp: int) -> str:
    """Return *timestamp* in seconds as docker's `history` has it: ``"2024-05-01T10:20:30Z"``."""
    local = (_EPOCH + timedelta(seconds=timestamp // SECOND)).astimezone()
    return local.isoformat().removesuffix("+00:00") + ("" if local.utcoffset() else "Z")
