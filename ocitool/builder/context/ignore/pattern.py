"""One pattern of an ignore file, followed along a path a name at a time.

``**`` stands for any number of directories, none included.  Where a pattern is at one directory
is its position, a number that only the pattern understands: a walk keeps positions and no text.

A step takes at most the pattern's length times the name's: a pattern is never at more positions
than it has characters, however many ways lead to them.

Source: moby/patternmatcher, as the Docker documentation describes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Protocol

from ocitool.builder.context.name_patterns import STAR, name_regex, name_tokens

MAGIC: Final = re.compile(r"[*?\[\\]")
ANY_DEPTH: Final = "**"
# Finds "**", but not where a backslash or brackets make it literal, and the slash behind it.
_GLUE = re.compile(r"\\.|\[\^?(?:[^\\\]]|\\.)+\]|(\*\*/?)", re.DOTALL)
_SLASH = "/"


class PathPattern(Protocol):
    """A pattern that knows its positions."""

    start: int

    def expected(self, at: int) -> str:
        """Return a name pattern: `step` leads nowhere from *at* by a name that it does not match.

        Staying at *at* is nowhere.
        """

    def step(self, at: int, name: str) -> tuple[bool, Iterable[int]]:
        """Say whether *name* ends a match, and return the positions beneath it."""


def path_pattern(text: str) -> PathPattern:
    """Return the pattern *text*, which is cleaned and holds a name; `FormatError`."""
    for name in text.split(_SLASH):
        name_tokens(name, strict=True)  # refuses a pattern that no name could be held against
    if text.startswith(ANY_DEPTH) and not MAGIC.search(text[2:]) and text[2:3] not in ("", _SLASH):
        # Before plain text at the very beginning, "**" is "*" at any depth.
        return Segments((ANY_DEPTH, *f"*{text[2:]}".split(_SLASH)))
    glues = [found.span() for found in _GLUE.finditer(text) if found[1]]
    if glues and glues[-1][1] == len(text):
        # At the end it is "the rest", and since a match holds for everything beneath, "*".
        text = f"{text[: glues[-1][0]]}*"
        glues = [found.span() for found in _GLUE.finditer(text) if found[1]]
    starts = [0, *(end for _, end in glues)]
    ends = [*(start for start, _ in glues), len(text)]
    first, *inner = (text[start:end] for start, end in zip(starts, ends, strict=True))
    # Any number of directories twice is no more than once.
    pieces = [first, *filter(None, inner)]
    if any(piece and not piece.endswith(_SLASH) for piece in pieces[:-1]):
        return Glued(pieces)
    segments: list[str] = []
    for piece in pieces[:-1]:
        segments += (*piece.split(_SLASH)[:-1], ANY_DEPTH)
    return Segments((*segments, *pieces[-1].split(_SLASH)))


class Segments:
    """A pattern in which ``**`` stands alone, followed by something; a position is a segment."""

    __slots__ = ("_segments", "_tests", "start")

    def __init__(self, segments: tuple[str, ...]) -> None:
        self.start = 0
        self._segments = segments
        self._tests = [None if each == ANY_DEPTH else _test(each) for each in segments]

    def expected(self, at: int) -> str:
        segments = self._segments
        return segments[at + 1] if segments[at] == ANY_DEPTH else segments[at]

    def step(self, at: int, name: str) -> tuple[bool, Iterable[int]]:
        stays: tuple[int, ...] = ()
        test = self._tests[at]
        if test is None:
            stays = (at,)
            at += 1
            test = self._tests[at]
        if test is None or not test(name):
            return False, stays
        at += 1
        return (True, stays) if at == len(self._tests) else (False, (*stays, at))


@lru_cache(maxsize=4096)
def _test(segment: str) -> Callable[[str], object]:
    """Return the test for one name; its result is true or false."""
    if not MAGIC.search(segment):
        return segment.__eq__
    return re.compile(name_regex(segment), re.DOTALL).fullmatch


class Glued:
    """A pattern with ``**`` behind other text: ``a**b`` is ``ab`` or ``a*/**/b``.

    A position is a set of bits: bit i is set where token i may come next, and the bit behind the
    last where the pattern is through.  All of them move on a character at a time.
    """

    __slots__ = ("_any", "_deep", "_end", "_hits", "_stars", "_tokens", "start")

    def __init__(self, pieces: list[str]) -> None:
        self._tokens: dict[str, int] = {}  # a token, and the bits that it stands at
        self._stars = self._deep = self._any = 0
        bit = 1
        for number, piece in enumerate(pieces):
            if number:
                # Two bits: where it begins, and where it goes on up to a slash.
                self._deep |= bit
                self._any |= bit << 1
                bit <<= 2
            for place, name in enumerate(piece.split(_SLASH)):
                for token in [re.escape(_SLASH)] * (place > 0) + name_tokens(name):
                    if token == STAR:
                        self._stars |= bit
                    else:
                        self._tokens[token] = self._tokens.get(token, 0) | bit
                    bit <<= 1
        self._end = bit
        self._hits: dict[str, int] = {}
        self.start = self._settle(1)

    def expected(self, at: int) -> str:
        return "*"

    def step(self, at: int, name: str) -> tuple[bool, Iterable[int]]:
        stay = self._stars | self._any
        for letter in name:
            at = self._settle((at & self._hit(letter)) << 1 | at & stay)
        through = bool(at & self._end)
        at = self._settle((at & (self._hit(_SLASH) | self._any)) << 1 | at & self._any)
        return through, (at,) if at else ()

    def _hit(self, letter: str) -> int:
        """Return the bits whose token is *letter*."""
        hits = self._hits.get(letter)
        if hits is None:
            hits = 0
            for token, bits in self._tokens.items():
                plain = token == re.escape(letter)
                if plain or (letter != _SLASH and re.fullmatch(token, letter, re.DOTALL)):
                    hits |= bits
            self._hits[letter] = hits
        return hits

    def _settle(self, at: int) -> int:
        """Add the bits that are reached without a character: ``**`` and ``*`` may be nothing."""
        begun = at & self._deep
        at |= begun << 1 | begun << 2
        return at | (at & self._stars) << 1
