"""A Dockerfile parsed and checked at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ocitool.builder.checks import syntax
from ocitool.builder.checks.linter import Linter
from ocitool.builder.checks.options import CheckOptions
from ocitool.builder.dockerfile.lines.joined import joined
from ocitool.builder.dockerfile.lines.split import Source, split
from ocitool.builder.dockerfile.parser import Dockerfile, parse_lines
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
    syntax.no_empty_continuation(linter, source)
    file = parse_lines(source, lambda statement: syntax.check_statement(linter, statement))
    syntax.check_file(linter, file)
    return replace(file, warnings=(*linter.options.unknown(), *file.warnings))
