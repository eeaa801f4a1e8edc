"""Booleans as docker's options and BuildKit's attributes write them.

Source: Go, package strconv, ParseBool.
"""

from __future__ import annotations

from typing import Final

_VALUES: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def boolean_of(text: str) -> bool | None:
    """Return the value of *text*, None if that is no boolean."""
    return _VALUES.get(text)
