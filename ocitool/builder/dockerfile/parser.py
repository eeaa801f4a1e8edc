"""Dockerfile text -> stages of instructions.

The language is closed: the instructions stand in one literal table, and a word that is not in
it is an error.  What the language has and this package does not is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ocitool.builder.dockerfile import statements
from ocitool.builder.dockerfile.instructions import Arg, From, Instruction, OnBuild
from ocitool.builder.dockerfile.lines.joined import joined
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.dockerfile.lines.split import Source, split
from ocitool.builder.dockerfile.runs import parse_run
from ocitool.builder.dockerfile.statements import Statement
from ocitool.errors import DockerfileError, FormatError, InvalidInstruction
from ocitool.suggestions import closest, did_you_mean

#: How each is parsed, by its word.
INSTRUCTIONS: Mapping[str, Callable[[Statement], Instruction | From]] = {
    "ADD": statements.parse_add,
    "ARG": statements.parse_arg,
    "CMD": statements.parse_cmd,
    "COPY": statements.parse_copy,
    "ENTRYPOINT": statements.parse_entrypoint,
    "ENV": statements.parse_env,
    "EXPOSE": statements.parse_expose,
    "FROM": statements.parse_from,
    "HEALTHCHECK": statements.parse_healthcheck,
    "LABEL": statements.parse_label,
    "MAINTAINER": statements.parse_maintainer,
    "ONBUILD": statements.parse_on_build,
    "RUN": parse_run,
    "SHELL": statements.parse_shell,
    "STOPSIGNAL": statements.parse_stop_signal,
    "USER": statements.parse_user,
    "VOLUME": statements.parse_volume,
    "WORKDIR": statements.parse_workdir,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedStage:
    """One FROM and what follows up to the next; ``index`` counts from 0."""

    from_: From
    instructions: tuple[Instruction, ...]
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """A whole file, checked as far as that goes without knowing any variable."""

    name: str
    directives: Mapping[str, str] = field(hash=False)
    escape: str
    global_args: tuple[Arg, ...]
    stages: tuple[ParsedStage, ...]
    warnings: tuple[str, ...]


def parse(text: bytes, *, name: str = "Dockerfile") -> Dockerfile:
    """Parse a Dockerfile; *name* is what errors call it.

    Raises:
        DockerfileError: with line, the lines themselves, and where there is one a remedy.
    """
    return parse_files([(name, text)])


def parse_files(files: Sequence[tuple[str, bytes]]) -> Dockerfile:
    """Parse several files, names and texts, as one Dockerfile; raises as `parse`."""
    return parse_lines(joined([split(text, name=name) for name, text in files]))


def parse_lines(source: Source) -> Dockerfile:
    """Parse the logical lines of a Dockerfile; raises as `parse`."""
    return in_stages(source, parse_statements(statements_of(source)))


def statements_of(source: Source) -> tuple[Statement, ...]:
    """Return the lines of a Dockerfile, cut.

    Raises:
        DockerfileError: there is no line, or words of one cannot be separated.
    """
    if not source.lines:
        empty = not any(source.physical)
        raise DockerfileError(
            "the Dockerfile cannot be empty" if empty else "file with no instructions",
            name=source.name,
            hint="a Dockerfile begins with FROM image",
        )
    found = []
    for line in source.lines:
        with _at(line.span, DockerfileError):
            found.append(Statement.of(line, source.escape))
    return tuple(found)


def parse_statements(
    given: Iterable[Statement], notice: Callable[[Statement], object] = lambda _: None
) -> Iterator[Instruction | From]:
    """Yield the instructions that *given* are; *notice* gets each before it is looked at.

    Raises:
        InvalidInstruction: with the line.
    """
    for statement in given:
        notice(statement)
        with _at(statement.span, InvalidInstruction):
            instruction = _function(statement.word)(statement)
        yield instruction


def in_stages(source: Source, instructions: Iterable[Instruction | From]) -> Dockerfile:
    """Return the *instructions* of *source* as a Dockerfile.

    Raises:
        DockerfileError: an instruction stands before the first FROM, or there is no FROM.
    """
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    warnings: list[str] = []
    for instruction in instructions:
        if isinstance(instruction, Arg):
            warnings += _unusable_names(instruction)
        if isinstance(instruction, OnBuild):
            warnings += _failing_trigger(instruction)
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            raise instruction.span.error(
                "no build stage in current context",
                hint="only ARG may stand before the first FROM",
            )
    if not stages:
        raise DockerfileError(
            "dockerfile contains no stages to build",
            name=source.name,
            hint="add a line FROM image",
        )
    return Dockerfile(
        name=source.name,
        directives=source.directives,
        escape=source.escape,
        global_args=tuple(global_args),
        stages=tuple(
            ParsedStage(from_=from_, instructions=tuple(instructions), index=index)
            for index, (from_, instructions) in enumerate(stages)
        ),
        warnings=tuple(warnings),
    )


def parse_trigger(trigger: str, span: Span) -> tuple[Instruction, list[str]]:
    """Parse what an ONBUILD recorded; returns the instruction and its warnings.

    It stands where the FROM that executes it does, at *span*.  An escape directive there
    is not for the trigger's lines and words, which were written elsewhere.

    Raises:
        DockerfileError: the trigger is invalid; with the FROM, and the trigger as the hint.
    """
    try:
        instruction = _trigger(trigger, span)
    except FormatError as error:
        hint = "; ".join(filter(None, (trigger_note(shown(trigger)), error.hint)))
        raise span.error(error.message, hint=hint) from error
    if isinstance(instruction, Arg):
        return instruction, list(_unusable_names(instruction))
    return instruction, []


def trigger_note(trigger: str) -> str:
    """Say where an error in a trigger is, which is shown with the FROM that executes it."""
    return f"it stands in the trigger ONBUILD {trigger}"


def shown(trigger: str) -> str:
    """Return the first line of a trigger, as messages show it."""
    return " ".join(trigger.partition("\n")[0].split())


def _trigger(trigger: str, span: Span) -> Instruction:
    # An image's config may hold half a surrogate pair, which is refused as other bytes are.
    source = split(trigger.encode("utf-8", "surrogatepass"))
    if len(source.lines) != 1:
        raise FormatError("onbuild trigger should be a single expression")
    (line,) = source.lines
    moved = replace(line, span=replace(span, text=line.span.text, comments=()))
    statement = Statement.of(moved, source.escape)
    instruction = _function(statement.word)(statement)
    if isinstance(instruction, From):
        raise FormatError("FROM isn't allowed as an ONBUILD trigger")
    return instruction


def _failing_trigger(on_build: OnBuild) -> Iterator[str]:
    """Yield a warning for a trigger that no build here could execute.

    BuildKit records any text; a builder that comes later may know the instruction.
    """
    try:
        _trigger(on_build.trigger, on_build.span)
    except FormatError as error:
        yield (
            f"{on_build.span}: ONBUILD {shown(on_build.trigger)}: builds on "
            f"this image will fail: {error.message}"
        )


@contextmanager
def _at(span: Span, kind: type[DockerfileError]) -> Iterator[None]:
    """Have errors be of this *kind*, and point at *span*."""
    try:
        yield
    except FormatError as error:
        raise span.error(error.message, hint=error.hint, kind=kind) from error


_IDENTIFIER = re.compile(r"[^\W\d]\w*")


def _unusable_names(arg: Arg) -> Iterator[str]:
    """Yield a warning for each name that ``$`` cannot refer to.

    Older builders expanded and unquoted the names of ARG; BuildKit takes them as they are.
    """
    for name, _ in arg.pairs:
        if _IDENTIFIER.fullmatch(name):
            continue
        plain = name.translate(_QUOTES)
        if "$" in name:
            why = "variables are not replaced in the name of an ARG; write the name itself"
        elif _IDENTIFIER.fullmatch(plain):
            why = f"quotes are not removed from the name of an ARG; write ARG {plain}"
        else:
            why = "the name of a variable has letters, digits and underscores only"
        yield (
            f"{arg.span}: no instruction can refer to the variable that ARG {name} declares: {why}"
        )


_QUOTES = str.maketrans("", "", "'\"\\`")


def _function(word: str) -> Callable[[Statement], Instruction | From]:
    if word.upper() not in INSTRUCTIONS:
        near = closest(word.lower(), map(str.lower, INSTRUCTIONS))
        near = near.upper() if word == word.upper() else near
        hint = "" if near else f"one of {', '.join(INSTRUCTIONS)}"
        raise FormatError(f"unknown instruction: {word}{did_you_mean(near)}", hint=hint)
    return INSTRUCTIONS[word.upper()]
