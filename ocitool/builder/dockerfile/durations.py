"""Durations as Go writes them: ``1m30s``, ``1.5h``, ``-2ms``, ``0``."""

from __future__ import annotations

import re

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
_PART = re.compile(rf"(\d*)(?:\.(\d*))?({'|'.join(_UNITS)})", re.ASCII)


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
            raise FormatError(f'invalid duration "{text}"', hint="write it as 30s or 1m30s")
        fraction = (part[2] or "")[:18]
        unit = _UNITS[part[3]]
        total += int(part[1] or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        at = part.end()
    if total > _MAX:
        raise FormatError(f'invalid duration "{text}"', hint="it is longer than 292 years")
    return -total if text.startswith("-") else total
