"""What a build of a target can be given: arguments, secrets and SSH agents."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from ocitool.builder.dockerfile.instructions import Arg
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.dockerfile.parser import Dockerfile
from ocitool.builder.frontend.stages import Stage
from ocitool.builder.frontend.variables import Scope
from ocitool.builder.mounts import RunMount, SecretMount, SshMount


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """A build argument, where it is declared, with the value that it has."""

    name: str
    value: str | None
    description: str
    span: Span

    @classmethod
    def of(cls, arg: Arg, name: str, value: str | None) -> Self:
        """Return the argument *name* of *arg*."""
        description = describe(arg.span.comments, name)
        return cls(name=name, value=value, description=description, span=arg.span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret, or an SSH agent, where the first RUN of a stage uses it."""

    id: str
    required: bool
    span: Span


_DEFAULT_AGENT: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one stage uses, by name or ID."""

    #: None for those whose value is that of the global ARG.
    arguments: dict[str, Argument | None] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    ssh: dict[str, Secret] = field(default_factory=dict)

    def note(self, mounts: Iterable[RunMount], span: Span) -> None:
        """Add the secrets and agents among the *mounts* of a RUN."""
        for mount in mounts:
            if isinstance(mount, SecretMount):
                secret = Secret(id=mount.id, required=mount.required, span=span)
                self.secrets.setdefault(secret.id, secret)
            elif isinstance(mount, SshMount):
                agent = Secret(id=mount.id or _DEFAULT_AGENT, required=mount.required, span=span)
                self.ssh.setdefault(agent.id, agent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a target can be given, each in the order of the lines."""

    name: str  # "" if the stage has none
    description: str
    arguments: tuple[Argument, ...]
    secrets: tuple[Secret, ...] = ()
    ssh: tuple[Secret, ...] = ()


def describe(comments: Sequence[str], name: str) -> str:
    """Return what the comments above say of *name*, their first word; ``""`` for nothing."""
    found = (line[len(name) + 1 :] for line in comments if line.startswith(f"{name} "))
    return next(found, "") if name else ""


def outline_of(
    file: Dockerfile,
    scope: Scope,
    target: Stage,
    stages: Mapping[int, Stage],
    used: Mapping[int, Used],
) -> Outline:
    """Return the outline of *target*; *used* is what each of the *stages* uses, by index.

    What several stages have is shown as the stage nearest to the target has it.
    """
    origin = target.parsed.from_
    name = origin.name or ""
    shared = _global_arguments(file, scope)
    found: dict[str, Argument] = {}
    secrets: dict[str, Secret] = {}
    ssh: dict[str, Secret] = {}
    for stage in _nearest_first(target, stages):
        here = used[stage.index]
        own = {name for name, argument in here.arguments.items() if argument is not None}
        for each in _with_dependencies((*stage.arguments, *here.arguments), own, scope):
            argument = here.arguments.get(each) or shared.get(each)
            if argument is not None:
                found.setdefault(each, argument)
        secrets = {**here.secrets, **secrets}
        ssh = {**here.ssh, **ssh}
    return Outline(
        name=name,
        description=describe(origin.span.comments, name),
        arguments=tuple(sorted(found.values(), key=lambda each: each.span.first)),
        secrets=tuple(sorted(secrets.values(), key=lambda each: each.span.first)),
        ssh=tuple(sorted(ssh.values(), key=lambda each: each.span.first)),
    )


def _global_arguments(file: Dockerfile, scope: Scope) -> dict[str, Argument]:
    return {
        name: Argument.of(arg, name, scope.values.get(name))
        for arg in file.global_args
        for name, _ in arg.pairs
    }


def _with_dependencies(names: Iterable[str], own: Container[str], scope: Scope) -> list[str]:
    """Return *names*, and what the defaults of global ARGs use; those of *own* are the stage's."""
    found = dict.fromkeys(names)
    left = list(found)
    while left:
        name = left.pop()
        used = () if name in own else scope.uses.get(name, ())
        left += [each for each in used if each not in found]
        found.update(dict.fromkeys(used))
    return list(found)


def _nearest_first(target: Stage, stages: Mapping[int, Stage]) -> list[Stage]:
    """Return *target* and all that it needs."""
    found: dict[int, Stage] = {}
    left = [target.index]
    while left:
        index = left.pop()
        if index not in found:
            stage = found[index] = stages[index]
            others = [each for each in stage.sources.values() if isinstance(each, int)]
            base = [stage.base] if isinstance(stage.base, int) else []
            left += [*reversed(others), *base]
    return list(found.values())
