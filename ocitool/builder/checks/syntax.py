"""Rules of how a file is written, which need no variable: a function for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ocitool.builder.checks.linter import Linter
from ocitool.builder.dockerfile import arguments
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.dockerfile.lines.split import Source
from ocitool.builder.dockerfile.parser import Dockerfile
from ocitool.builder.dockerfile.statements import Statement
from ocitool.go_values import quoted

_RESERVED: Final = ("context", "scratch")


def written_word(span: Span) -> str:
    """Return the word of an instruction as it is written."""
    return arguments.split_once(span.text)[0]


def check_statement(linter: Linter, statement: Statement) -> None:
    """Check one instruction; what follows it may not even be an instruction."""
    if statement.kind == "FROM":
        words = arguments.split_blanks(statement.rest)
        stage_name_casing(linter, statement.span, words)
        from_as_casing(linter, statement.span, words)
        if len(words) == 3:
            invalid_definition_description(linter, statement, [words[2].lower()])
    elif statement.kind == "ARG":
        names = arguments.split_quoted(statement.rest, statement.escape)
        names = [name.partition("=")[0] for name in names]
        invalid_definition_description(linter, statement, names)
    elif statement.kind == "MAINTAINER":
        linter.warn("MaintainerDeprecated", statement.span)


def check_file(linter: Linter, file: Dockerfile) -> None:
    """Check what all instructions of a file are together."""
    reserved_stage_name(linter, file)
    duplicate_stage_name(linter, file)
    consistent_instruction_casing(linter, file)


def no_empty_continuation(linter: Linter, source: Source) -> None:
    for line in source.lines:
        if number := line.empty_continuation:
            text = line.span.lines[number - line.span.first]
            where = replace(line.span, first=number, last=number, lines=(text,))
            linter.warn("NoEmptyContinuation", where)


def stage_name_casing(linter: Linter, span: Span, words: Sequence[str]) -> None:
    if len(words) == 3 and words[2] != words[2].lower():
        linter.warn("StageNameCasing", span, words[2])


def from_as_casing(linter: Linter, span: Span, words: Sequence[str]) -> None:
    if len(words) < 3:
        return
    word = written_word(span)
    for same in (str.lower, str.upper):
        if word == same(word):
            if words[1] != same(words[1]):
                linter.warn("FromAsCasing", span, words[1], word)
            return


def invalid_definition_description(
    linter: Linter, statement: Statement, names: Sequence[str]
) -> None:
    """What is declared has to be the first word of the comment directly above."""
    if (
        not statement.span.comments
        or not names
        or statement.span.comments[-1].split(" ")[0] in names
    ):
        return
    name = names[0] if len(names) == 1 else "<arg_key>"
    linter.warn("InvalidDefinitionDescription", statement.span, statement.kind, name)


def reserved_stage_name(linter: Linter, file: Dockerfile) -> None:
    for stage in file.stages:
        if stage.from_.name in _RESERVED:
            linter.warn("ReservedStageName", stage.from_.span, quoted(stage.from_.name))


def duplicate_stage_name(linter: Linter, file: Dockerfile) -> None:
    seen: set[str] = set()
    for stage in file.stages:
        name = stage.from_.name
        if name in seen:
            linter.warn("DuplicateStageName", stage.from_.span, quoted(name))
        if name:
            seen.add(name)


def consistent_instruction_casing(linter: Linter, file: Dockerfile) -> None:
    """As most instructions from the first FROM on; as many of both: in upper case."""
    spans = [each.span for stage in file.stages for each in (stage.from_, *stage.instructions)]
    words = [written_word(span) for span in spans]
    lower = sum(word == word.lower() for word in words)
    upper = sum(word == word.upper() for word in words)
    same, name = (str.lower, "lowercase") if lower > upper else (str.upper, "uppercase")
    for span, word in zip(spans, words, strict=True):
        if word != same(word):
            linter.warn("ConsistentInstructionCasing", span, word, name)
