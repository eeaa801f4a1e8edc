"""Random words with quotes, escapes and variables in each other."""

from __future__ import annotations

import random
from typing import Final

#: Operators of substitutions that old builders know, and those that they do not.
_OLD: Final = (":-", ":+")
_NEWER: Final = (":?", "-", "+", "?", "#", "##", "%", "%%", "/", "//")
VARIABLES: Final = ("A", "B", "C", "D", "G", "H", "none")
_PLAIN: Final = (
    "1", "'a b'", '"a b"', "a\\ b", "$A", "${A}", "\\$A", "'$A'", '"$A$B"', "ü", '""', "x=y", "a#b",
    '"a\\"b"', "${A}${B}x", "${none}", "'a'\"b\"c", "\"\\$A\"", "$", "a\\'b", '"\\\\"', "\\\\",
    "a:b", "$A.$B", "${A}_", "$A_", '"\'$A\'"', "'\"'", "\"a\\b\"", "a\\b", "/a/b.c", "a,b", "`",
)  # fmt: skip
_PATTERNS: Final = ("*", "?", "a*", "*b", "g?v", "*/", "$B", "'*'", "\\*", "i", "n*", "", "a b")


class RandomValues:
    """Words for one Dockerfile; *new* ones have operators that old builders do not know."""

    def __init__(self, dice: random.Random, new: bool, escape: str) -> None:
        self._dice = dice
        self._new = new
        self._escape = escape

    def word(self) -> str:
        """Return one word, of one to three pieces."""
        dice = self._dice
        pieces = [self._piece(0) for _ in range(dice.choice((1, 1, 1, 2, 3)))]
        return "".join(pieces).replace("\\", self._escape)

    def name(self) -> str:
        """Return a word that is a name of a file: letters, and variables with defaults."""
        dice = self._dice
        text = self._substitution(1) if dice.random() < 0.5 else f"${dice.choice('AG')}"
        return text.replace("\\", self._escape)

    def _piece(self, depth: int) -> str:
        dice = self._dice
        if depth < 3 and dice.random() < 0.35:
            text = self._substitution(depth)
            return f'"{text}"' if dice.random() < 0.3 else text
        return dice.choice(_PLAIN)

    def _substitution(self, depth: int) -> str:
        dice = self._dice
        name = dice.choice(VARIABLES)
        operator = dice.choice(_NEWER if self._new and dice.random() < 0.6 else _OLD)
        if operator in ("/", "//"):
            return f"${{{name}{operator}{self._pattern(depth)}/{self._argument(depth)}}}"
        if operator[0] in "#%":
            return f"${{{name}{operator}{self._pattern(depth)}}}"
        return f"${{{name}{operator}{self._argument(depth)}}}"

    def _argument(self, depth: int) -> str:
        return "" if self._dice.random() < 0.1 else self._piece(depth + 1)

    def _pattern(self, depth: int) -> str:
        dice = self._dice
        return dice.choice(_PATTERNS) if dice.random() < 0.8 else self._piece(depth + 1)
