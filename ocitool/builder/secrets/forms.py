"""The forms in which a value is looked for: as it is, and as common encodings show it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes

SHORTEST: Final = 4  # bytes of a value; a shorter one is found by chance
_SHORTEST_ENCODED: Final = 6  # characters of base64
_PIECE: Final = 16, 32  # characters: the least and the most; lines of base64 have 64 or 76
_SPACE: Final = b"\r\n\t "
_ESCAPE: Final = re.compile("%[0-9A-F]{2}")


class Form(NamedTuple):
    """A form of a value: ``text`` is looked for.

    Long base64 may be wrapped.  Then ``text`` is a piece of it, which follows ``before`` other
    characters, and ``whole`` has to be there around it, white space aside.
    """

    text: bytes
    whole: bytes = b""
    before: int = 0

    @property
    def extent(self) -> int:
        """Return how many bytes it may have, white space included."""
        return len(self.whole) + _slack(len(self.whole)) if self.whole else len(self.text)

    def is_at(self, data: bytes, at: int) -> bool:
        """Say whether this is at *at*, where ``text`` was found."""
        if not self.whole:
            return True
        after = len(self.whole) - self.before
        begin = max(0, at - self.before - _slack(self.before))
        return self.whole in data[begin : at + after + _slack(after)].translate(None, _SPACE)


def _slack(size: int) -> int:
    """Return how much white space *size* characters may have in them: indented lines."""
    return size // 3 + 24


def forms_of(value: bytes) -> tuple[Form, ...]:
    """Return the forms of *value*; none if it is too short.

    White space around it does not count: a file ends with a newline, what a shell reads of it not.
    """
    value = value.strip()
    if len(value) < SHORTEST:
        return ()
    plain = {value, *_escaped(value), value.hex().encode(), value.hex().upper().encode()}
    found = [Form(text) for text in plain]
    for text in {each for code in _encoded(value) for each in (code, _url_safe(code))}:
        if len(text) >= 2 * _PIECE[0]:  # a line may end in one of two neighbours, not in both
            size = min(len(text) // 2, _PIECE[1])
            found += (Form(text[at : at + size], text, at) for at in (0, size))
        elif len(text) >= _SHORTEST_ENCODED:
            found.append(Form(text))
    return tuple(sorted(found))


def _escaped(value: bytes) -> Iterator[bytes]:
    """Yield *value*, if it is text, as in URLs, by what they leave as it is, and as in JSON."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    yield json.dumps(text)[1:-1].encode()
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
    for safe in ("", "/", "!'()*"):
        escaped = quote_from_bytes(value, safe)
        lower = _ESCAPE.sub(lambda found: found[0].lower(), escaped)
        for each in (escaped, lower):
            yield each.encode()
            yield each.replace("%20", "+").encode()


def _encoded(value: bytes) -> Iterator[bytes]:
    """Yield what all base64 has in common that holds *value* behind 0, 1 or 2 further bytes."""
    for before, begin in enumerate((0, 2, 3)):
        code = base64.b64encode(bytes(before) + value)
        yield code[begin : (before + len(value)) * 8 // 6]


def _url_safe(code: bytes) -> bytes:
    return code.translate(bytes.maketrans(b"+/", b"-_"))
