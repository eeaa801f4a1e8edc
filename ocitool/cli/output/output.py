"""What commands print on stdout: tables, lists and documents, formatted as docker formats them.

A command defines its columns once and passes rows.  The options that all lists share
(``--format``, ``--quiet``, ``--no-trunc``) are implemented here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from ocitool.cli.gotemplate.values import show, to_json
from ocitool.cli.output.text import escaped, one_line

Row = Mapping[str, object]

_GAP = 3  # spaces between two columns
_NARROWEST = 10  # docker's minimum width of a column, gap included


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the name of its field in templates, and its header.

    *short* truncates the value unless ``--no-trunc`` is given.  A column that is not *shown* is
    for templates only.
    """

    field: str
    header: str
    short: Callable[[str], str] | None = None
    shown: bool = True


# -- tables --------------------------------------------------------------------------------


def table(rows: Iterable[Row], columns: Sequence[Column]) -> str:
    """Return a table: a line of headers and a line for each row, each with its newline."""
    visible = [column for column in columns if column.shown]
    lines = [[column.header for column in visible]]
    lines += [[_cell(row.get(column.field)) for column in visible] for row in rows]
    return align(lines)


def align(lines: Sequence[Sequence[str]]) -> str:
    """Return *lines* of cells with aligned columns, without trailing spaces."""
    widths: list[int] = []
    for line in lines:
        widths += [0] * (len(line) - 1 - len(widths))
        for number, cell in enumerate(line[:-1]):  # the last cell of a line needs no padding
            widths[number] = max(widths[number], width(cell) + _GAP, _NARROWEST)
    return "".join(_line(line, widths) + "\n" for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (room - width(cell)) for cell, room in zip(cells, widths, strict=False)]
    return "".join([*padded, *cells[len(padded) :]]).rstrip(" ")


def width(text: str) -> int:
    """Return the width of *text* in terminal cells: wide characters take two, combining none."""
    if text.isascii():
        return len(text)
    from unicodedata import (
        category,
        east_asian_width,
    )  # slow to load (a third of a megabyte), rarely needed

    return sum(
        0 if category(char) in ("Mn", "Me", "Cf") else 2 if east_asian_width(char) in "WF" else 1
        for char in text
    )


def _cell(value: object) -> str:
    """Return the text of one cell; newlines, tabs and control characters are escaped."""
    text = value if isinstance(value, str) else "" if value is None else show(value)
    return text if text.isprintable() else one_line(text).replace("\t", r"\t")


# -- lists ---------------------------------------------------------------------------------


def emit_list(
    rows: Iterable[Row],
    *,
    columns: Sequence[Column],
    format: str | None = None,
    quiet: bool = False,
    no_trunc: bool = False,
    key: str = "ID",
    out: TextIO | None = None,
) -> None:
    """Print *rows* as a table, in *format*, or only their field *key* if *quiet*.

    As in docker, *format* overrides *quiet*, and values are truncated in every format.

    Raises:
        FormatError: *format* is invalid; nothing is printed then.
    """
    cut = {} if no_trunc else {c.field: c.short for c in columns if c.short is not None}
    shortened = [_shorten(row, cut) for row in rows]
    wanted = (format or "table").strip()
    if wanted == "table":
        text = _keys(shortened, key) if quiet else table(shortened, columns)
    else:
        text = _formatted(shortened, wanted if wanted == "json" else format or "", columns)
    write(text, out)


def _shorten(row: Row, cut: Mapping[str, Callable[[str], str]]) -> dict[str, object]:
    return {
        name: cut[name](value) if name in cut and isinstance(value, str) else value
        for name, value in sorted(row.items())
    }


def _keys(rows: Iterable[Row], key: str) -> str:
    return "".join(f"{_cell(row[key])}\n" for row in rows)


def _formatted(rows: Iterable[Row], format: str, columns: Sequence[Column]) -> str:
    from ocitool.cli.gotemplate.template import Template  # slow to load, and only templates need it

    template = Template.parse(format)
    if not template.table:
        return "".join(template.render(row) + "\n" for row in rows)
    lines = [template.headings({column.field: column.header for column in columns})]
    lines += [template.render(row) for row in rows]
    return align([line.split("\t") for text in lines for line in text.split("\n")])


def short_id(value: str) -> str:
    """Return the first twelve digits of a digest; other text is returned unchanged."""
    algorithm, colon, digits = value.partition(":")
    if colon and algorithm.isalnum() and digits.isalnum() and len(digits) >= 32:
        return digits[:12]
    return value[:12] if len(value) == 64 else value


def ellipsis(size: int) -> Callable[[str], str]:
    """Return a `Column.short` that truncates text to *size* characters, the last one ``…``."""
    return lambda value: value if len(value) <= size else value[: size - 1] + "…"


# -- documents -----------------------------------------------------------------------------


def emit_documents(
    values: Sequence[object], *, format: str | None = None, out: TextIO | None = None
) -> None:
    """Print *values* as ``inspect`` does: one JSON array, or each of them in *format*.

    Raises:
        FormatError: *format* is invalid; nothing is printed then.
    """
    if not format:
        write(to_json(list(values), indent=4) + "\n", out)
        return
    from ocitool.cli.gotemplate.template import Template

    template = Template.parse(format, escapes=False)
    write("".join(template.render(value) + "\n" for value in values), out)


# -- streams -------------------------------------------------------------------------------


class OutputGone(Exception):
    """The pipe on stdout was closed by its reader."""


def write(text: str, out: TextIO | None = None) -> None:
    """Write *text* and flush, so that a broken pipe is noticed here and not at exit.

    All output of commands is written by this function: control characters are escaped.
    """
    write_raw(escaped(text), out)


def write_line(text: str, out: TextIO | None = None) -> None:
    """Write *text* as one line: newlines in it are escaped."""
    write(one_line(text) + "\n", out)


def write_raw(text: str, out: TextIO | None = None) -> None:
    """Write *text* and flush, without escaping: for text with colours or cursor movements.

    Characters that the stream's encoding does not have are escaped.
    """
    stream = sys.stdout if out is None else out
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def is_terminal(stream: TextIO) -> bool:
    """Return whether *stream* is a terminal that can move its cursor."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") != "dumb"
    except ValueError:  # closed
        return False


def colour_wanted(stream: TextIO) -> bool:
    """Return whether to use colours: on a terminal, unless ``NO_COLOR`` is set (no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")
