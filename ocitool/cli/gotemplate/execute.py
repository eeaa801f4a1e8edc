"""Executes a parsed template for one value."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

from ocitool.cli.gotemplate.functions import FUNCTIONS, call, kinds
from ocitool.cli.gotemplate.parse import (
    Branch,
    Literal,
    Name,
    Node,
    Operand,
    Output,
    Pipe,
    Text,
    fail,
)
from ocitool.cli.gotemplate.values import is_list, show

_RECORD_KEY = re.compile(r"[A-Z][A-Za-z0-9]*")


class Run:
    """One rendering of a template; *root* is always a record, also if it has other keys."""

    def __init__(self, root: object) -> None:
        self._root = root

    def block(self, nodes: tuple[Node, ...], dot: object, names: ChainMap[str, object]) -> str:
        return "".join(self._node(node, dot, names) for node in nodes)

    def _node(self, node: Node, dot: object, names: ChainMap[str, object]) -> str:
        if isinstance(node, Text):
            return node.text
        if isinstance(node, Output):
            value = self._pipe(node.pipe, dot, names)
            return "" if node.pipe.names else show(value)
        inner = names.new_child()
        if node.kind == "range":
            return self._range(node, dot, inner)
        value = self._pipe(node.pipe, dot, inner)
        if not value:
            return self.block(node.otherwise, dot, inner)
        return self.block(node.body, value if node.kind == "with" else dot, inner)

    def _range(self, node: Branch, dot: object, names: ChainMap[str, object]) -> str:
        plain = replace(node.pipe, names=())
        pairs = _pairs(self._pipe(plain, dot, names))
        if not pairs:
            return self.block(node.otherwise, dot, names)
        text = []
        for key, item in pairs:
            inner = names.new_child()
            inner.update(zip(node.pipe.names, (key, item)[-len(node.pipe.names) :], strict=False))
            text.append(self.block(node.body, item, inner))
        return "".join(text)

    def _pipe(self, pipe: Pipe, dot: object, names: ChainMap[str, object]) -> object:
        piped: list[object] = []
        for command in pipe.commands:
            piped = [self._command(command, piped, dot, names)]
        if pipe.names:
            self._assign(pipe, piped[0], names)
        return piped[0]

    def _assign(self, pipe: Pipe, value: object, names: ChainMap[str, object]) -> None:
        if len(pipe.names) > 1:
            fail("only range can declare two variables")
        name = pipe.names[0]
        scope = next((m for m in names.maps if name in m), None)
        if not pipe.declares and scope is None:
            fail(f"variable {name} is not defined")
        (names if pipe.declares or scope is None else scope)[name] = value

    def _command(
        self,
        command: tuple[Operand, ...],
        piped: list[object],
        dot: object,
        names: ChainMap[str, object],
    ) -> object:
        head, *rest = command
        if isinstance(head, Name) and head.name in ("and", "or"):
            return self._short(head.name, rest, piped, dot, names)
        arguments = [self._value(operand, dot, names) for operand in rest] + piped
        if isinstance(head, Name) and head.name in FUNCTIONS:
            return call(head.name, arguments)
        value = self._value(head, dot, names, called=True)
        if callable(value):
            return _method(value, arguments)
        if arguments:
            fail("a value that is not a function cannot take arguments")
        return value

    def _short(
        self,
        word: str,
        operands: list[Operand],
        piped: list[object],
        dot: object,
        names: ChainMap[str, object],
    ) -> object:
        """Evaluate ``and``/``or`` with short circuit, as in ``{{if and .X .X.Y}}``."""
        value: object = None
        for operand in operands:
            value = self._value(operand, dot, names)
            if bool(value) == (word == "or"):
                return value
        return piped[0] if piped else value

    def _value(
        self, operand: Operand, dot: object, names: ChainMap[str, object], called: bool = False
    ) -> object:
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Pipe):
            return self._pipe(operand, dot, names)
        if isinstance(operand, Name):
            return _named(operand.name, dot, names)
        value = self._value(operand.base, dot, names)
        for name in operand.path:
            value = _field(value, name, known=value is self._root)
        return value if called or not callable(value) else _method(value, [])


def _named(name: str, dot: object, names: ChainMap[str, object]) -> object:
    if name == ".":
        return dot
    if name in FUNCTIONS:
        return call(name, [])
    if name not in names:
        fail(f"variable {name} is not defined")
    return names[name]


def _method(value: object, arguments: list[object]) -> object:
    try:
        return value(*arguments)  # type: ignore[operator]
    except (TypeError, AttributeError):
        fail(f"invalid arguments for a method: {kinds(arguments) or 'none'}")


def _pairs(value: object) -> list[tuple[object, object]]:
    if isinstance(value, Mapping):
        return sorted(value.items())
    if value is not None and not is_list(value):
        fail(f"range needs a list or a map, not {show(value)!r}")
    return list(enumerate(value or ()))


def _field(value: object, name: str, *, known: bool) -> object:
    if not isinstance(value, Mapping):
        fail(f"{show(value)!r} has no field {name!r}", hint="use {{if .X}}{{.X.Y}}{{end}}")
    if name in value:
        return value[name]
    if known or (value and all(_RECORD_KEY.fullmatch(str(key)) for key in value)):
        unknown(name, value)
    return None


def unknown(name: str, known: Mapping[str, object]) -> NoReturn:
    """Raise `FormatError` for the unknown field *name*; the hint lists the *known* fields."""
    fail(f"unknown field {name!r}", hint=f"known fields: {', '.join(sorted(map(str, known)))}")
