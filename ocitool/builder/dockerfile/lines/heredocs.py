"""Heredocs: what announces them, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ocitool.builder.dockerfile.expansion.expand import shell_words
from ocitool.builder.dockerfile.expansion.limit import WordError


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """A file whose content stands in the Dockerfile itself.

    ``content`` ends with a newline unless it is empty.  With ``strip_tabs`` (``<<-``) the file has
    lost the tabs at the beginning of its lines.  ``expand`` is False if any part of the name was
    quoted; it is meant for COPY and ADD, RUN leaves variables to its shell.
    """

    name: str
    content: str
    expand: bool
    strip_tabs: bool

    @property
    def text(self) -> str:
        """What the file holds."""
        return _TABS.sub("", self.content) if self.strip_tabs else self.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What announces a heredoc: its name, and how its content is to be read."""

    name: str
    expand: bool
    strip_tabs: bool

    def ends_at(self, line: str) -> bool:
        """Say whether *line*, without its line end, is the terminator."""
        return (line.lstrip("\t") if self.strip_tabs else line) == self.name

    def closed(self, content: str) -> Heredoc:
        """Return the heredoc with the lines that were read."""
        return Heredoc(
            name=self.name, content=content, expand=self.expand, strip_tabs=self.strip_tabs
        )


_TABS = re.compile(r"^\t+", re.MULTILINE)
# A file descriptor may stand before it: that is for the shell of a RUN.
_OPENING = re.compile(r"\d*<<(-?)\s*+([^<]*)")


def parse_opening(word: str) -> Opening | None:
    """Read one word of an instruction, None if it does not announce a heredoc.

    Quotes and escapes in it are the shell's, whatever the escape directive says.
    """
    found = _OPENING.fullmatch(word)
    if found is None or not found[2]:
        return None
    try:
        plain = shell_words(found[2], raw=False)
        quoted = shell_words(found[2], raw=True)
    except WordError:
        return None
    if len(plain) != 1:
        return None
    return Opening(name=plain[0], expand=plain == quoted, strip_tabs=bool(found[1]))


def find_openings(text: str) -> list[Opening]:
    """Return the heredocs that the instruction *text* opens, in their order."""
    if "<<" not in text:
        return []
    try:
        words = shell_words(text, raw=True)
    except WordError:
        # The quotes do not balance; RUN may still mean something by it to its shell.
        return []
    return [opening for word in join_arrows(words) if (opening := parse_opening(word)) is not None]


# Its word may stand apart (``<< EOF``); a shift of a shell's arithmetic has no such word behind it.
_APART = re.compile(r"\d*<<-?")
_WORD = re.compile(r"""["']?[A-Za-z_][\w.]*["']?""", re.ASCII)


def join_arrows(words: Iterable[str]) -> Iterator[str]:
    """Yield *words*, the arrows of a heredoc with the word that follows them."""
    arrows = ""
    for word in words:
        if arrows and _WORD.fullmatch(word):
            yield arrows + word
            arrows = ""
        elif _APART.fullmatch(word):
            arrows = word
        else:
            arrows = ""
            yield word
