"""docker's ``--format``: a template is parsed once and rendered for each value.

    Template.parse("{{.Repository}}:{{.Tag}}").render(row)
    Template.parse("json").render(row)          # the same as {{json .}}
    Template.parse("Config.Env").render(image)  # the same as {{.Config.Env}}

Values are those of JSON.  An unknown field of a record is an error that lists the known fields; an
unknown key of a map is ``<no value>``.  The value passed to ``render`` is a record, and so is each
mapping in it whose keys are all spelled like Go's fields, ``Env`` but not ``com.example.version``.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ocitool.cli.gotemplate.execute import Run, unknown
from ocitool.cli.gotemplate.functions import FUNCTIONS, call
from ocitool.cli.gotemplate.parse import (
    Branch,
    Field,
    Name,
    Node,
    Operand,
    Output,
    Pipe,
    Text,
    parse,
)

_PATH = re.compile(r"\.?([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template; ``table`` is whether it begins with ``table``, for aligned columns."""

    nodes: tuple[Node, ...]
    table: bool = False

    @classmethod
    def parse(cls, text: str, *, escapes: bool = True) -> Template:
        r"""Parse *text*.

        *escapes* turns ``\t`` and ``\n`` outside of actions into a tab and a newline, and gives
        ``table`` its meaning, as docker does for lists; docker's ``inspect`` does not.

        Raises:
            FormatError: *text* is malformed, or calls an unknown function.
        """
        body = text.strip()
        table = escapes and (body == "table" or body.startswith("table "))
        nodes = parse(_spelled_out(body.removeprefix("table").lstrip() if table else text))
        for name in _calls(nodes):
            if name not in FUNCTIONS:
                call(name, [])
        return cls(_unescaped(nodes) if escapes else nodes, table)

    def render(self, value: object) -> str:
        """Return the text for *value*, without a newline at its end.

        Raises:
            FormatError: a field is unknown, or a function has invalid arguments.
        """
        return Run(value).block(self.nodes, value, ChainMap({"$": value}))

    def headings(self, headers: Mapping[str, str]) -> str:
        """Return the header line of a table: each action becomes the header of its field.

        Raises:
            FormatError: a field has no header.
        """
        return "".join(_heading(node, headers) for node in self.nodes)


def _spelled_out(text: str) -> str:
    word = text.strip()
    if word == "json":
        return "{{json .}}"
    path = _PATH.fullmatch(word)
    return f"{{{{.{path[1]}}}}}" if path else text


def _unescaped(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(_unescaped_node(node) for node in nodes)


def _unescaped_node(node: Node) -> Node:
    if isinstance(node, Text):
        return Text(node.text.replace(r"\t", "\t").replace(r"\n", "\n"))
    if isinstance(node, Branch):
        body, otherwise = _unescaped(node.body), _unescaped(node.otherwise)
        return replace(node, body=body, otherwise=otherwise)
    return node


def _calls(nodes: Iterable[Node]) -> Iterator[str]:
    """Yield the functions in *nodes*, so that unknown ones are an error before any output."""
    for node in nodes:
        if not isinstance(node, Text):
            yield from _called(node.pipe)
        if isinstance(node, Branch):
            yield from _calls(node.body)
            yield from _calls(node.otherwise)


def _called(operand: Operand) -> Iterator[str]:
    if isinstance(operand, Pipe):
        for part in (part for command in operand.commands for part in command):
            yield from _called(part)
    elif isinstance(operand, Field):
        yield from _called(operand.base)
    elif isinstance(operand, Name) and operand.name[0] not in ".$":
        yield operand.name


# -- the line above a table ----------------------------------------------------------------


def _heading(node: Node, headers: Mapping[str, str]) -> str:
    if isinstance(node, Text):
        return node.text
    field = next(_fields(node.pipe), None)
    if isinstance(node, Output) or (node.kind != "if" and field):
        return _header(field, headers) if field else ""
    return "".join(_heading(inner, headers) for inner in node.body)


def _fields(operand: Operand) -> Iterator[Field]:
    if isinstance(operand, Field):
        yield operand
    elif isinstance(operand, Pipe):
        for part in (part for command in operand.commands for part in command):
            yield from _fields(part)


def _header(field: Field, headers: Mapping[str, str]) -> str:
    if field.path[0] not in headers:
        unknown(field.path[0], headers)
    return headers.get(".".join(field.path), headers[field.path[0]])
