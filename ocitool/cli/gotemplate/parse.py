"""The grammar of ``--format`` templates: text to actions to tokens to frozen nodes.

A subset of Go's text/template.  Not in it: ``define``, ``template``, ``block``, ``break``,
``continue``, ``call``; each is an error.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
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
    """Raise `FormatError` for the template; *column* counts from 1."""
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
    """The text between ``{{`` and ``}}``."""

    tokens: tuple[Token, ...]
    column: int


def pieces(text: str) -> Iterator[str | Action]:
    """Split *text* into text and actions; trim markers are applied."""
    position, trim = 0, False
    while (start := text.find("{{", position)) >= 0:
        match = _ACTION.match(text, start)
        if match is None:
            fail(
                "unclosed action",
                start + 1,
                hint="close the action with }}, and strings with quotes",
            )
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
            hint = 'for a name with other characters use {{index .Map "the-name"}}'
            fail(f"unexpected {inside[position]!r} in an action", offset + position + 1, hint)
        yield Token(match.lastgroup or "", match[0], offset + position + 1)
        position = match.end()


@dataclass(frozen=True, slots=True)
class Text:
    """Text that is printed unchanged."""

    text: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, ``true``, ``false`` or ``nil``."""

    value: object


@dataclass(frozen=True, slots=True)
class Name:
    """``.`` (named ``"."``), ``$``, ``$x``, or a function."""

    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """``base.A.B``; the base of ``.A.B`` is the dot."""

    base: Operand
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pipe:
    """``$x, $y := command | command``, each command a function or value and its arguments."""

    commands: tuple[tuple[Operand, ...], ...]
    names: tuple[str, ...] = ()
    declares: bool = False  # ``:=``, else ``=``


@dataclass(frozen=True, slots=True)
class Output:
    """``{{pipe}}``."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """``if``, ``with`` or ``range`` over *pipe*, up to its ``end``."""

    kind: str
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


Operand = Literal | Name | Field | Pipe
Node = Text | Output | Branch

_CONSTANTS: dict[str, object] = {"true": True, "false": False, "nil": None}
_BLOCKS = ("if", "with", "range")
# Far above what anybody writes, and below Python's own limit of nested calls, for running too.
_MOST_NESTED = 32
_MOST_DIGITS = 300
_REFUSED = ("define", "template", "block", "break", "continue")


def parse(text: str) -> tuple[Node, ...]:
    """Return the nodes of the template *text*.

    Raises:
        FormatError: *text* does not follow the grammar; ``where`` names the column.
    """
    return _Parser(pieces(text)).template()


class _Parser:
    """Turns pieces into a tree; each block reads up to its own ``end``."""

    def __init__(self, source: Iterator[str | Action]) -> None:
        self._pieces = source
        self._depth = 0

    def template(self) -> tuple[Node, ...]:
        nodes, stop = self._nodes()
        if stop is not None:
            fail(f"unexpected {{{{{stop.word()}}}}}", stop.column)
        return nodes

    def _nodes(self) -> tuple[tuple[Node, ...], _Words | None]:
        """Read nodes up to an ``else`` or ``end``, which is returned, or the last piece."""
        nodes: list[Node] = []
        for piece in self._pieces:
            if isinstance(piece, str):
                nodes.append(Text(piece))
                continue
            words = _Words(piece)
            word = words.word()
            if word in ("else", "end"):
                return tuple(nodes), words
            if word in _REFUSED:
                fail(f"{word} is not supported", piece.column, hint="use if, with or range")
            nodes.append(self._block(words) if word in _BLOCKS else Output(words.whole_pipe()))
        return tuple(nodes), None

    def _block(self, words: _Words) -> Branch:
        self._depth = _deeper(self._depth, words.column)
        branch = self._branch(words)
        self._depth -= 1
        return branch

    def _branch(self, words: _Words) -> Branch:
        kind = words.take().text
        pipe = words.whole_pipe()
        body, stop = self._nodes()
        otherwise: tuple[Node, ...] = ()
        if stop is not None and stop.word() == "else":
            stop.take()
            if stop.word():  # {{else if ...}}: the inner block takes the one end
                return Branch(kind, pipe, body, (self._else_block(stop, kind),))
            stop.finish()
            otherwise, stop = self._nodes()
        if stop is None or stop.word() != "end":
            fail(f"{{{{{kind}}}}} has no {{{{end}}}}", words.column)
        stop.take()
        stop.finish()
        return Branch(kind, pipe, body, otherwise)

    def _else_block(self, words: _Words, kind: str) -> Branch:
        if kind == "range" or words.word() != kind:
            fail(f"unexpected {words.word()} after else", words.column)
        return self._block(words)


class _Words:
    """The tokens of one action, read from left to right."""

    def __init__(self, action: Action) -> None:
        self.column = action.column
        self._tokens = deque(action.tokens)
        self._depth = 0
        self._skip_space()

    def word(self) -> str:
        """Return the next word, or ``""``."""
        token = self._peek()
        return token.text if token is not None and token.kind == "word" else ""

    def take(self) -> Token:
        token = self._tokens.popleft()
        self._skip_space()
        return token

    def finish(self) -> None:
        if (token := self._peek()) is not None:
            fail(f"unexpected {token.text!r}", token.column)

    def whole_pipe(self) -> Pipe:
        pipe = self._pipe()
        self.finish()
        return pipe

    def _peek(self) -> Token | None:
        return self._tokens[0] if self._tokens else None

    def _skip_space(self) -> None:
        while self._tokens and self._tokens[0].kind == "space":
            self._tokens.popleft()

    def _mark(self, text: str) -> bool:
        token = self._peek()
        if token is None or token.kind != "mark" or token.text != text:
            return False
        self.take()
        return True

    def _pipe(self) -> Pipe:
        names, declares = self._declaration()
        commands = [self._command()]
        while self._mark("|"):
            commands.append(self._command())
        return Pipe(tuple(commands), names, declares)

    def _declaration(self) -> tuple[tuple[str, ...], bool]:
        """Read ``$x :=``, ``$k, $v :=`` or ``$x =``, if one follows."""
        visible = list(islice((each for each in self._tokens if each.kind != "space"), 4))
        shape = "".join("$" if t.kind == "variable" else t.text for t in visible)
        for form, count in (("$:=", 1), ("$=", 1), ("$,$:=", 2), ("$,$=", 2)):
            if shape.startswith(form) and visible[2 * count - 1].kind == "mark":
                taken = [self.take() for _ in range(2 * count)]
                return tuple(t.text for t in taken[::2]), form.endswith(":=")
        return (), False

    def _command(self) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while (token := self._peek()) is not None and token.text not in ("|", ")"):
            operands.append(self._operand())
        if not operands:
            fail("missing value", token.column if token else self.column)
        return tuple(operands)

    def _operand(self) -> Operand:
        """Read one value and the fields that follow it without a space."""
        token = self._tokens.popleft()
        base: Operand
        path: list[str] = []
        if token.kind == "field":
            base = Name(".")
            path.append(token.text[1:])
        elif token.text == "(":
            self._depth = _deeper(self._depth, token.column)
            self._skip_space()
            base = self._pipe()
            if not self._tokens or self._tokens.popleft().text != ")":
                fail("unclosed parenthesis", token.column)
            self._depth -= 1
        else:
            base = _simple(token)
        while self._tokens and self._tokens[0].kind == "field":
            path.append(self._tokens.popleft().text[1:])
        if self._tokens and self._tokens[0].kind not in ("space", "mark"):
            fail(f"unexpected {self._tokens[0].text!r}", self._tokens[0].column)
        self._skip_space()
        return Field(base, tuple(path)) if path else base


def _simple(token: Token) -> Operand:
    if token.kind == "string":
        return Literal(_unquoted(token))
    if token.kind == "raw":
        return Literal(token.text[1:-1])
    if token.kind == "number":
        return Literal(_number(token))
    if token.kind == "word" and token.text in _CONSTANTS:
        return Literal(_CONSTANTS[token.text])
    if token.kind not in ("dot", "variable", "word"):
        fail(f"unexpected {token.text!r}", token.column)
    return Name(token.text)


def _deeper(depth: int, column: int) -> int:
    if depth == _MOST_NESTED:
        fail(f"nested more than {_MOST_NESTED} deep", column)
    return depth + 1


def _number(token: Token) -> int | float:
    text = token.text
    if len(text) > _MOST_DIGITS:
        fail(f"a number of more than {_MOST_DIGITS} digits", token.column)
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _unquoted(token: Token) -> str:
    try:
        value = json.loads(token.text, strict=False)
    except ValueError:
        fail(f"bad escape in {token.text}", token.column)
    return str(value)
