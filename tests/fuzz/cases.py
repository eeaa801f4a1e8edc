"""One case: a context, the lines of a Dockerfile, and what is given to the command."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tests.fuzz.contexts import Entry, RandomContext, random_context
from tests.fuzz.dockerfiles import COMMENTED, RandomDockerfile, text_of
from tests.fuzz.smallest import smallest

#: Flags, and the command.
_RUN: Final = re.compile(r"RUN ((?:--\S+ )*)(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the builders are given."""

    context: RandomContext
    lines: tuple[str, ...]
    target: str = ""
    arguments: tuple[str, ...] = ()  # NAME=VALUE

    @property
    def words(self) -> tuple[str, ...]:
        """The options that all builders know."""
        target = ("--target", self.target) if self.target else ()
        return (*target, *(f"--build-arg={argument}" for argument in self.arguments))

    def __str__(self) -> str:
        entries = "".join(f"  {entry}\n" for entry in self.context.entries)
        name = "Dockerfile.dockerignore" if self.context.beside else ".dockerignore"
        ignore = f"  {name}: {self.context.ignore!r}\n" if self.context.ignore else ""
        words = f"  {shlex.join(self.words)}\n" if self.words else ""
        return f"{entries}{ignore}{words}{text_of(self.lines)}"


def random_case(dice: random.Random) -> Case:
    """Return a random case."""
    context = random_context(dice)
    made = RandomDockerfile(dice, context)
    return Case(
        context=context, lines=tuple(made.lines), target=made.target, arguments=made.arguments
    )


def smallest_case(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Leave out instructions, commands, files and ignore rules as long as *case* fails."""

    def with_lines(lines: list[str]) -> Case:
        return replace(case, lines=tuple(lines))

    def with_entries(entries: list[Entry]) -> Case:
        return replace(case, context=replace(case.context, entries=tuple(entries)))

    def with_rules(rules: list[str]) -> Case:
        return replace(case, context=replace(case.context, ignore="".join(rules)))

    first = case.lines[:1]
    rest = smallest(case.lines[1:], lambda lines: fails(with_lines([*first, *lines])))
    case = with_lines([*first, *rest])
    plain = with_lines([line.replace(COMMENTED, " && ") for line in case.lines])
    case = plain if plain != case and fails(plain) else case
    for at, line in enumerate(case.lines):
        if line.startswith("RUN ") and '["' not in line and "\n" not in line:
            case = _smallest_command(case, at, fails)
    entries = smallest(
        case.context.entries, lambda some: _whole(some) and fails(with_entries(some))
    )
    case = with_entries(entries)
    rules = case.context.ignore.splitlines(keepends=True)
    return with_rules(smallest(rules, lambda some: fails(with_rules(some))))


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
