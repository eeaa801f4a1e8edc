"""Durations as Go reads and writes them: ``1m30s``, ``1.5h``, ``-2ms``, ``0``."""

from __future__ import annotations

import re

from ocitool.builder.dockerfile.quotes import quoted
from ocitool.errors import FormatError

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
_UNITS = {
    "ns": 1,
    "us": MICROSECOND,
    "\N{MICRO SIGN}s": MICROSECOND,
    "\N{GREEK SMALL LETTER MU}s": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_MAX = 2**63 - 1
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^.0-9]*)")


def parse_duration(text: str) -> int:
    """Return nanoseconds.

    Source: Go, package time, ParseDuration.
    """
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return 0
    total = at = 0
    while at < len(unsigned) or not unsigned:
        part = _PART.match(unsigned, at)
        # 30 digits are far beyond the largest duration, and little enough to convert.
        if part is None or not (part[1] or part[2]) or len(part[1]) > 30:
            raise _invalid("invalid duration", text)
        unit = _UNITS.get(part[3])
        if unit is None:
            what = f"unknown unit {quoted(part[3])} in" if part[3] else "missing unit in"
            raise _invalid(f"{what} duration", text)
        fraction = (part[2] or "")[:18]
        total += int(part[1] or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        at = part.end()
    if total > _MAX:
        raise _invalid("invalid duration", text, hint="it is longer than 292 years")
    return -total if text.startswith("-") else total


def _invalid(what: str, text: str, hint: str = "write it as 30s or 1m30s") -> FormatError:
    return FormatError(f"time: {what} {quoted(text)}", hint=hint)


def format_duration(duration: int) -> str:
    """Return nanoseconds as text: ``1h0m0s``, ``1m30s``, ``500ms``, ``0s``.

    Source: Go, package time, Duration.String.
    """
    sign, rest = ("-", -duration) if duration < 0 else ("", duration)
    if rest < SECOND:
        for unit in ("ms", "\N{MICRO SIGN}s"):
            if rest >= _UNITS[unit]:
                return f"{sign}{_decimal(rest, _UNITS[unit])}{unit}"
        return f"{sign}{rest}ns" if rest else "0s"
    minutes, rest = divmod(rest, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{text}{_decimal(rest, SECOND)}s"


def _decimal(number: int, unit: int) -> str:
    """Return *number* in *unit*, a power of ten, without zeros at the end."""
    whole, fraction = divmod(number, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
