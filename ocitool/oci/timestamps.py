"""Timestamps of image configs: RFC 3339, with up to nine digits of a second.

They are parsed into an ``int``, nanoseconds since 1970-01-01T00:00:00Z, because ``datetime`` only
has microseconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from ocitool.errors import FormatError

SECOND: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000: Final = 253_402_300_800
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


def parse_time(text: str) -> int:
    """Return the time of an RFC 3339 *text*, in nanoseconds since 1970; further digits are dropped.

    Raises:
        FormatError: *text* is not RFC 3339, or its date does not exist.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise FormatError(f"invalid RFC 3339 time {text!r}")
    *numbers, fraction, _, sign, offset_hours, offset_minutes = match.groups()
    try:
        return _nanoseconds([int(number) for number in numbers], fraction or "") - _offset(
            sign, offset_hours, offset_minutes
        )
    except ValueError as error:
        raise FormatError(f"invalid RFC 3339 time {text!r}: {error}") from error


def _nanoseconds(numbers: list[int], fraction: str) -> int:
    year, month, day, hour, minute, second = numbers
    leap = second == 60  # RFC 3339 allows it, datetime does not
    start = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
    whole = (start - _EPOCH) // timedelta(seconds=1) + leap
    return whole * SECOND + int(fraction[:9].ljust(9, "0"))


def _offset(sign: str | None, hours: str | None, minutes: str | None) -> int:
    if not sign or hours is None or minutes is None:
        return 0
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError("the offset is out of range")
    span = (int(hours) * 60 + int(minutes)) * 60 * SECOND
    return -span if sign == "-" else span


def timestamp(epoch: int | None) -> str:
    """Return *epoch* (seconds since 1970), or now, as RFC 3339 in UTC."""
    if epoch is not None:
        return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_epoch(text: str) -> int:
    """Read SOURCE_DATE_EPOCH: seconds since 1970, of a year of four digits.

    Raises:
        FormatError: *text* is something else.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 13 and int(text) < _YEAR_10000):
        raise FormatError(
            f"invalid SOURCE_DATE_EPOCH {text!r}",
            hint="set a number of seconds since 1970, before the year 10000",
        )
    return int(text)
