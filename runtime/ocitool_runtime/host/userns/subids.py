"""Free ranges of subordinate IDs, for the hint that names one.

Source: subuid(5); useradd(8), SUB_UID_MIN, SUB_UID_MAX and SUB_UID_COUNT of login.defs(5).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_FIRST: Final = 100_000
_END: Final = 600_100_000  # exclusive
_COUNT: Final = 65_536


def usermod_hint(user: str, etc: str = "/etc") -> str:
    """Return the command by which root gives *user* a range that nobody has yet."""
    first = free_range(etc)
    ids = f"{first}-{first + _COUNT - 1}"
    return f"usermod --add-subuids {ids} --add-subgids {ids} {user}"


def free_range(etc: str = "/etc") -> int:
    """Return the first of 65,536 IDs that are in no range, and of no user and no group."""
    first = _FIRST
    for taken, count in sorted(_taken(etc)):
        if taken >= first + _COUNT:
            break
        first = max(first, taken + count)
    return first if first + _COUNT <= _END else _FIRST


def _taken(etc: str) -> Iterator[tuple[int, int]]:
    for name in ("subuid", "subgid"):
        for _, start, count in _rows(f"{etc}/{name}", 3):
            if start.isdecimal() and count.isdecimal():
                yield int(start), int(count)
    for name in ("passwd", "group"):
        for _, _, number in _rows(f"{etc}/{name}", 3):
            if number.isdecimal():
                yield int(number), 1


def _rows(path: str, fields: int) -> Iterator[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                row = line.strip().split(":")[:fields]
                if len(row) == fields:
                    yield row
    except OSError:
        return
