"""Lines of a Dockerfile as progress and errors show them: without user and password in URLs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/?#\"']+@")
_HIDDEN: Final = "xxxxx:xxxxx@"  # as BuildKit


def without_credentials(text: str) -> str:
    """Return *text* with ``xxxxx:xxxxx`` in place of user and password in URLs."""
    return _CREDENTIALS.sub(_HIDDEN, text) if "@" in text else text


def excerpt(lines: Sequence[str], first: int, last: int) -> tuple[str, ...]:
    """Return the lines *first* to *last*, counted from 1."""
    return tuple(map(without_credentials, lines[first - 1 : last]))
