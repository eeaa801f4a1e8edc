r"""Lines of a Dockerfile as progress and errors show them.

They are without user and password in URLs, and bytes that are no text are escaped: ``\xe9``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/?#\"']+@")
_HIDDEN: Final = "xxxxx:xxxxx@"  # as BuildKit
_BYTE: Final = re.compile("[\udc80-\udcff]")  # what "surrogateescape" makes of a byte


def without_credentials(text: str) -> str:
    """Return *text* with ``xxxxx:xxxxx`` in place of user and password in URLs."""
    return _CREDENTIALS.sub(_HIDDEN, text) if "@" in text else text


def excerpt(lines: Sequence[str], first: int, last: int) -> tuple[str, ...]:
    """Return the lines *first* to *last*, counted from 1."""
    return tuple(_printable(without_credentials(line)) for line in lines[first - 1 : last])


def _printable(line: str) -> str:
    return _BYTE.sub(lambda byte: rf"\x{ord(byte[0]) - 0xDC00:02x}", line)
