"""Text that comes out of variables as it grows, and how much of it there may be."""

from __future__ import annotations

from dataclasses import dataclass, field

from ocitool.errors import FormatError

_MIB = 1024 * 1024


class WordError(FormatError):
    """Quotes or a substitution do not follow the grammar, or ``${v:?}`` found nothing."""


@dataclass(slots=True)
class Allowance:
    """How much text may come out of variables, for one Dockerfile all together.

    A line that holds a variable twice doubles it, so thirty of them would fill any memory.
    """

    limit: int = 4 * _MIB  # characters; the config that they end in may not be larger
    spent: int = 0

    def spend(self, text: str) -> str:
        """Count *text* and return it; raises `WordError` where it is too much."""
        self.spent += len(text)
        if self.spent > self.limit:
            raise WordError(
                f"the variables expand to more than {self.limit // _MIB} MiB of text",
                hint="check for a variable whose value contains itself several times",
            )
        return text


@dataclass(slots=True)
class Result:
    """Text as it grows, whole and cut into words at the same time."""

    pieces: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    word: list[str] = field(default_factory=list)  # the one that is open

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def add(self, text: str, *, splits: bool) -> None:
        self.pieces.append(text)
        if not splits:
            self.word.append(text)
            return
        words = text.split()
        if text[:1].isspace():
            self.end_word()
        for number, word in enumerate(words):
            if number:
                self.end_word()
            self.word.append(word)
        if text[-1:].isspace():
            self.end_word()

    def end_word(self) -> None:
        if word := "".join(self.word):
            self.words.append(word)
        self.word = []
