"""Cuts a ``--format`` template into text and actions, and actions into tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from ocitool.errors import FormatError

_ACTION = re.compile(
    r"""\{\{(?P<left>-(?=\s))?
        (?: \s*/\*.*?\*/\s*
          | (?P<inside>(?:"(?:\\.|[^"\\\n])*"|`[^`]*`|(?!\s-\}\}|\}\})[^"`])*) )
        (?P<right>\s-)?\}\}""",
    re.DOTALL | re.VERBOSE,
)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<string>"(?:\\.|[^"\\])*")
      | (?P<raw>`[^`]*`)
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<field>\.[^\W\d]\w*)
      | (?P<dot>\.)
      | (?P<variable>\$\w*)
      | (?P<word>[^\W\d]\w*)
      | (?P<mark>:=|[=|(),])""",
    re.VERBOSE,
)


def fail(message: str, column: int = 0, hint: str = "") -> NoReturn:
    """Refuse the template; *column* counts from 1."""
    where = f"--format, column {column}" if column else "--format"
    raise FormatError(message, where=where, hint=hint)


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an action; *column* counts from 1 in the whole template."""

    kind: str
    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Action:
    """What stands between ``{{`` and ``}}``."""

    tokens: tuple[Token, ...]
    column: int


def pieces(text: str) -> Iterator[str | Action]:
    """Cut *text* at its actions; the trim markers are done with afterwards."""
    position, trim = 0, False
    while (start := text.find("{{", position)) >= 0:
        match = _ACTION.match(text, start)
        if match is None:
            fail("unclosed action", start + 1, hint="an action is {{...}}, its strings closed")
        before = text[position:start].lstrip() if trim else text[position:start]
        yield before.rstrip() if match["left"] else before
        if match["inside"] is not None:
            yield Action(tuple(_tokens(match["inside"], match.start("inside"))), start + 1)
        position, trim = match.end(), bool(match["right"])
    yield text[position:].lstrip() if trim else text[position:]


def _tokens(inside: str, offset: int) -> Iterator[Token]:
    position = 0
    while position < len(inside):
        match = _TOKEN.match(inside, position)
        if match is None:
            hint = 'a name with other characters is reached by {{index .Map "the-name"}}'
            fail(f"unexpected {inside[position]!r} in an action", offset + position + 1, hint)
        yield Token(match.lastgroup or "", match[0], offset + position + 1)
        position = match.end()
