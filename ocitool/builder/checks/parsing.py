"""A Dockerfile parsed and checked at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ocitool.builder.checks import syntax
from ocitool.builder.checks.linter import Linter
from ocitool.builder.checks.options import CheckOptions
from ocitool.builder.dockerfile.lines.joined import joined
from ocitool.builder.dockerfile.lines.split import Source, split
from ocitool.builder.dockerfile.parser import (
    Dockerfile,
    in_stages,
    parse_statements,
    statements_of,
)
from ocitool.builder.dockerfile.statements import Statement
from ocitool.errors import FormatError
from ocitool.progress import CheckWarning


def parse_checked(
    files: Sequence[tuple[str, bytes]],
    *,
    build_args: Mapping[str, str],
    warn: Callable[[CheckWarning], object],
) -> tuple[Dockerfile, Linter]:
    """Parse a Dockerfile, and return it with the linter for the rest of its checks.

    *files* are names and texts of what is read as one.

    What is found before an error is handed to *warn*.  Raises as `parser.parse`; `FormatError` for
    invalid options of checks.
    """
    source = joined([split(text, name=name) for name, text in files])
    linter = Linter(CheckOptions.of(source, build_args), warn)
    return parse_source(source, linter), linter


def parse_source(source: Source, linter: Linter) -> Dockerfile:
    """Parse the lines of a Dockerfile, with the *linter* of these; raises as `parser.parse`."""
    statements = statements_of(source)
    syntax.no_empty_continuation(linter, source)
    instructions = parse_statements(
        statements, lambda statement: syntax.check_statement(linter, statement)
    )
    file = in_stages(source, instructions)
    syntax.check_file(linter, file)
    unknown = [*linter.options.unknown()]
    for statement in statements:
        unknown += (f"{statement.span}: {message}" for message in _without_effect(statement))
    return replace(file, warnings=(*unknown, *file.warnings))


def _without_effect(statement: Statement) -> Iterable[str]:
    """Return a message for each part of a comment ``# check=`` that has no effect."""
    try:
        return CheckOptions.of_comments(statement.span.comments).unknown()
    except FormatError as error:
        return (f"the comment # check= has no effect: {error.message}",)
