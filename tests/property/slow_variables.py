"""The rules of ARG, ENV and LABEL a second time: which value each of them has in which stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.property.slow_dockerfile import Wrong, expanded, quoted_words


@dataclass
class Stage:
    """What a stage has: variables of all kinds, those of the image, and labels."""

    scope: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


def last_stage(lines: Sequence[str], given: Mapping[str, str], escape: str) -> Stage:
    """Evaluate *lines* of FROM, ARG, ENV and LABEL; *given* are build arguments.

    A default is not looked at where there is an argument, nor a stage that the last one is not
    based on.
    """
    for line in lines:
        word, rest = line.split(" ", 1)
        if word in ("ENV", "LABEL") and not all("=" in each for each in quoted_words(rest, escape)):
            raise Wrong("no =")  # wherever it stands
    used = _used(lines)
    everywhere: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    skipped = False
    for line in lines:
        word, rest = line.split(" ", 1)
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            first = stages.get(base, Stage())
            stage = Stage(dict(first.scope), dict(first.env), dict(first.labels))
            stages[name] = stage
            skipped = name not in used
            continue
        if skipped:
            continue
        pairs = [each.partition("=") for each in quoted_words(rest, escape)]
        if stage is None:
            for name, equals, text in pairs:
                if name in given:
                    everywhere[name] = given[name]
                elif equals:
                    everywhere[name] = expanded(text, everywhere, escape)
        elif word == "ARG":
            for name, equals, text in pairs:
                value = given.get(name, everywhere.get(name))
                if equals and name not in given:
                    value = expanded(text, stage.scope, escape)
                if value is not None:
                    stage.scope[name] = value
        else:
            before = dict(stage.scope)
            new = {
                expanded(name, before, escape): expanded(text, before, escape)
                for name, _, text in pairs
            }
            if word == "LABEL":
                stage.labels.update(new)
            else:
                stage.env.update(new)
                stage.scope.update(new)
    assert stage is not None
    return stage


def _used(lines: Sequence[str]) -> set[str]:
    """Return the names of the last stage and of those that it is based on."""
    bases = [line.removeprefix("FROM ").split(" AS ") for line in lines if line[:4] == "FROM"]
    used = {bases[-1][1]}
    for base, name in reversed(bases):
        used |= {base} if name in used else set()
    return used
