"""Values as programs that are written in Go, such as docker, read and write them.

Source: Go, packages strconv and time; docker's go-units.
"""

from __future__ import annotations

import re
from typing import Final

from ocitool.errors import FormatError

_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE | re.ASCII)
_SIZE_UNITS: Final = ("", "k", "m", "g", "t", "p")
_DIGITS: Final = 18  # of a size, at most
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
_UNITS: Final = {
    "ns": 1,
    "us": MICROSECOND,
    "\N{MICRO SIGN}s": MICROSECOND,
    "\N{GREEK SMALL LETTER MU}s": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_LONGEST: Final = 2**63 - 1
_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^.0-9]*)")
_ESCAPES: Final = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}


def boolean_of(text: str) -> bool | None:
    """Return the value of *text*, None if it is not a boolean."""
    return _BOOLEANS.get(text)


def size_of(text: str) -> int | None:
    """Return the bytes of a size such as ``10GB``, ``1.5 MiB`` or ``512``; None if it is invalid.

    Units are powers of 1024.
    """
    match = _SIZE.fullmatch(text)
    if match is None or len(match[1]) > _DIGITS:
        return None
    whole, _, fraction = match[1].partition(".")
    unit: int = 1024 ** _SIZE_UNITS.index(match[2].lower())
    # Without floats: they would round large sizes.
    return int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)


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
    if total > _LONGEST:
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


def quoted(text: str) -> str:
    """Return *text* in double quotes.

    Source: Go, package strconv, Quote.
    """
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    known = _ESCAPES.get(character)
    if known is not None:
        return known
    number = ord(character)
    if character == " " or character.isprintable():
        return character
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
