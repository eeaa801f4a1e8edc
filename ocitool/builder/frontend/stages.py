"""The graph of stages: what each builds on and takes from, and which of them the target needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from ocitool.builder.dockerfile.expand import WordError
from ocitool.builder.dockerfile.instructions import Copy, Instruction, OnBuild
from ocitool.builder.dockerfile.parser import Dockerfile, ParsedStage
from ocitool.builder.frontend.variables import Scope
from ocitool.errors import StageCycle, UnknownStage
from ocitool.suggestions import suggest

#: What to do where a FROM expands to something that is no image's name.
ARG_HINT: Final = "give the ARG a default before the first FROM, or set it by --build-arg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage with its FROM expanded.

    ``base`` is an earlier stage's number or an image's name; ``"scratch"`` is the empty image.
    ``sources`` has for each ``--from`` text the stage or image that it names.  ``triggers`` are
    the instructions that the base has recorded for it, known once `needed` has found the base.
    """

    parsed: ParsedStage
    base: int | str
    platform: str = ""
    sources: Mapping[str, int | str]
    triggers: tuple[Instruction, ...] = ()

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """All that is executed, triggers first."""
        return (*self.triggers, *self.parsed.instructions)

    @property
    def on_build(self) -> tuple[str, ...]:
        """The triggers for stages that are based on this one."""
        return tuple(each.trigger for each in self.instructions if isinstance(each, OnBuild))

    @property
    def index(self) -> int:
        """The stage's number, from 0."""
        return self.parsed.index

    @property
    def name(self) -> str:
        """What messages call the stage."""
        return self.parsed.from_.name or f"stage-{self.index}"


def global_scope(file: Dockerfile, automatic: Mapping[str, str], given: Mapping[str, str]) -> Scope:
    """Evaluate the ARGs before the first FROM."""
    # The automatic arguments are there for FROM without being declared.
    scope = Scope(given=given, globals={}, consumed=set())
    for name, value in automatic.items():
        scope.declare(name, value)
    for arg in file.global_args:
        for name, default in arg.pairs:
            try:
                text = None if default is None else scope.expand(default, file.escape)
            except WordError as error:
                raise file.error(arg.span, str(error), hint=error.hint) from error
            scope.declare(name, text)
    return scope


def resolve(file: Dockerfile, scope: Scope, first: str = "") -> tuple[Stage, ...]:
    """Expand each FROM, and find out what every stage refers to.

    *first* is the image of the first FROM, whatever that names.

    Raises:
        DockerfileError: a FROM that expands to nothing.
        UnknownStage: a ``--from`` number that no earlier stage has.
        StageCycle: a stage that needs itself.
    """
    numbers: dict[str, int] = {}
    stages: list[Stage] = []
    for parsed in file.stages:
        origin = parsed.from_
        try:
            image = scope.expand(origin.image, file.escape)
            platform = scope.expand(origin.platform or "", file.escape)
        except WordError as error:
            raise file.error(origin.span, str(error), hint=error.hint) from error
        if first and not stages:
            image = first
        if not image:
            raise file.error(
                origin.span,
                f"base name ({origin.image}) should not be blank",
                hint=ARG_HINT,
            )
        base: int | str = numbers.get(image.lower(), image)
        stages.append(Stage(parsed=parsed, base=base, platform=platform, sources={}))
        if origin.name:
            numbers[origin.name] = parsed.index
    return tuple(_with_sources(file, stage, numbers) for stage in stages)


def _with_sources(file: Dockerfile, stage: Stage, names: Mapping[str, int]) -> Stage:
    return replace(stage, sources=_sources(file, stage, names))


def _sources(file: Dockerfile, stage: Stage, names: Mapping[str, int]) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    for instruction in stage.instructions:
        if not isinstance(instruction, Copy) or instruction.from_ is None:
            continue
        text = instruction.from_
        if text.isdecimal():
            if int(text) >= stage.index:
                error = UnknownStage(f"invalid stage index {text}", hint=_numbered(stage.index))
                raise instruction.span.locate(error)
            found[text] = int(text)
        else:
            found[text] = names.get(text.lower(), text)
    return found


def _numbered(count: int) -> str:
    if count == 0:
        return "no stage comes before this one"
    return f"stages before this one are numbered 0 to {count - 1}"


def target_of(stages: tuple[Stage, ...], target: str) -> Stage:
    """Return the stage *target* names (by name or number), by default the last one."""
    if not target:
        return stages[-1]
    for stage in reversed(stages):
        if stage.parsed.from_.name == target.lower():
            return stage
    if target.isdecimal() and int(target) < len(stages):
        return stages[int(target)]
    names = [stage.parsed.from_.name for stage in stages if stage.parsed.from_.name]
    raise UnknownStage(
        f'target stage "{target}" could not be found{suggest(target, names)}',
        hint=f"available stages: {', '.join(names)}" if names else "no stage has a name",
    )


Triggers: TypeAlias = Callable[[Stage, Stage | None], tuple[Instruction, ...]]
"""Returns the triggers for a stage; the second argument is the stage that it is based on."""


def no_triggers(stage: Stage, base: Stage | None) -> tuple[Instruction, ...]:
    """Know no triggers: what is wrong in the file itself is found without any image."""
    return ()


def needed(
    file: Dockerfile, stages: tuple[Stage, ...], target: Stage, triggers: Triggers
) -> tuple[Stage, ...]:
    """Return the stages that *target* needs, itself last, each after what it needs.

    They have their *triggers*, which are asked for once the stage below is complete: a trigger
    may need further stages.
    """
    names = {stage.parsed.from_.name: stage.index for stage in stages if stage.parsed.from_.name}
    done: dict[int, Stage] = {}
    complete: dict[int, Stage] = {}

    def wanted(stage: Stage) -> Iterator[int]:
        base = None
        if isinstance(stage.base, int):
            yield stage.base
            base = done[stage.base]
        stage = _with_sources(file, replace(stage, triggers=triggers(stage, base)), names)
        complete[stage.index] = stage
        yield from (other for other in stage.sources.values() if isinstance(other, int))

    # The path from the target to the current stage, each with what it still refers to.
    path = {target.index: wanted(target)}
    while path:
        index, others = next(reversed(path.items()))
        other = next(others, None)
        if other is None:
            done[index] = complete[index]
            del path[index]
        elif other in path:
            stage = stages[other]
            error = StageCycle(
                f"circular dependency detected on stage: {stage.name}",
                hint="a stage may take files only from stages that do not need it",
            )
            raise stage.parsed.from_.span.locate(error)
        elif other not in done:
            path[other] = wanted(stages[other])
    return tuple(done.values())
