"""One case: a context, the lines of a Dockerfile, and what is given to the command."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tests.fuzz.contexts import Entry, RandomContext, random_context
from tests.fuzz.dockerfiles import COMMENTED, RandomDockerfile, text_of
from tests.fuzz.smallest import smallest

_COMMENTS: Final = re.compile("|".join(map(re.escape, COMMENTED)))
#: Flags, and the command.
_RUN: Final = re.compile(r"RUN ((?:--\S+ )*)(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the builders are given."""

    context: RandomContext
    lines: tuple[str, ...]
    escape: str = "\\"
    base: tuple[str, ...] = ()  # lines of the base image that FROM MADE names
    named: Mapping[str, str] = field(default_factory=dict)  # contexts
    files: RandomContext | None = None  # of a named context
    tar: bool = False  # whether the context is given as an archive
    target: str = ""
    arguments: tuple[str, ...] = ()  # NAME=VALUE

    @property
    def words(self) -> tuple[str, ...]:
        """The options that all builders know."""
        target = ("--target", self.target) if self.target else ()
        named = (f"--build-context={name}={value}" for name, value in self.named.items())
        return (*target, *(f"--build-arg={argument}" for argument in self.arguments), *named)

    def __str__(self) -> str:
        entries = "".join(f"  {entry}\n" for entry in self.context.entries)
        ignore = "".join(f"  {name}: {text!r}\n" for name, text in self.context.ignores.items())
        files = "".join(f"  named: {entry}\n" for entry in self.files.entries) if self.files else ""
        words = f"  {shlex.join(self.words)}\n" if self.words else ""
        tar = "  the context is a tar\n" if self.tar else ""
        base = f"{text_of(self.base)}---\n" if self.base else ""
        return f"{entries}{ignore}{files}{words}{tar}{base}{text_of(self.lines, self.escape)}"


def random_case(dice: random.Random) -> Case:
    """Return a random case."""
    context = random_context(dice)
    made = RandomDockerfile(dice, context)
    return Case(
        context=context,
        lines=tuple(made.lines),
        escape=made.escape,
        base=made.base,
        named=made.named.values,
        files=made.named.files,
        tar=dice.random() < 0.08,
        target=made.target,
        arguments=made.arguments,
    )


def smallest_case(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Leave out instructions, commands, files and ignore rules as long as *case* fails."""

    def with_lines(lines: list[str]) -> Case:
        return replace(case, lines=tuple(lines))

    def with_entries(entries: list[Entry]) -> Case:
        return replace(case, context=replace(case.context, entries=tuple(entries)))

    def with_rules(name: str, rules: list[str]) -> Case:
        ignores = {**case.context.ignores, name: "".join(rules)}
        return replace(case, context=replace(case.context, ignores=ignores))

    def with_base(lines: list[str]) -> Case:
        return replace(case, base=(*case.base[:1], *lines))

    first = case.lines[:1]
    rest = smallest(case.lines[1:], lambda lines: fails(with_lines([*first, *lines])))
    case = with_lines([*first, *rest])
    plain = with_lines([_COMMENTS.sub(" && ", line) for line in case.lines])
    case = plain if plain != case and fails(plain) else case
    case = with_base(smallest(case.base[1:], lambda lines: fails(with_base(lines))))
    for simpler in _simpler(case):
        fewer = replace(case, **simpler)
        case = fewer if fewer != case and fails(fewer) else case
    for at, line in enumerate(case.lines):
        if line.startswith("RUN ") and '["' not in line and "\n" not in line:
            case = _smallest_command(case, at, fails)
    entries = smallest(
        case.context.entries, lambda some: _whole(some) and fails(with_entries(some))
    )
    case = with_entries(entries)
    for name, text in case.context.ignores.items():
        rules = text.splitlines(keepends=True)
        left = smallest(rules, lambda some, name=name: fails(with_rules(name, some)))  # type: ignore[misc]
        case = with_rules(name, left)
    return case


def _simpler(case: Case) -> list[dict[str, Any]]:
    """Return fields that may not be needed."""
    fewer = [
        {"arguments": tuple(each for each in case.arguments if each != one)}
        for one in case.arguments
    ]
    return [{"tar": False}, {"target": ""}, {"named": {}, "files": None}, {"arguments": ()}, *fewer]


def _smallest_command(case: Case, at: int, fails: Callable[[Case], bool]) -> Case:
    """Leave out flags and commands of the RUN in line *at*."""
    found = _RUN.fullmatch(case.lines[at])
    assert found is not None
    flags, commands = found[1].split(), found[2].split(" && ")

    def with_parts(flags: list[str], commands: list[str]) -> Case:
        line = " ".join(["RUN", *flags, " && ".join(commands) or "true"])
        return replace(case, lines=(*case.lines[:at], line, *case.lines[at + 1 :]))

    commands = smallest(commands, lambda some: fails(with_parts(flags, some)))
    flags = smallest(flags, lambda some: fails(with_parts(some, commands)))
    return with_parts(flags, commands)


def _whole(entries: list[Entry]) -> bool:
    """Whether each directory and each other name of a hard link is still there."""
    paths = {entry.path for entry in entries}
    return all(
        ("/" not in entry.path or entry.path.rpartition("/")[0] in paths)
        and (entry.kind != "hardlink" or entry.data in paths)
        for entry in entries
    )
