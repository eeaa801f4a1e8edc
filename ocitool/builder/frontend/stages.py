"""The graph of stages: what each builds on and takes from, and which of them the target needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from ocitool.builder.checks import bases as checks
from ocitool.builder.checks.linter import Linter
from ocitool.builder.dockerfile.expansion.limit import WordError
from ocitool.builder.dockerfile.expansion.variables import Variables
from ocitool.builder.dockerfile.instructions import Copy, From, Instruction, OnBuild, Run
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.dockerfile.parser import Dockerfile, ParsedStage, trigger_note
from ocitool.builder.dockerfile.platforms import parse_platform
from ocitool.builder.frontend.sources.named_contexts import Named, NamedContexts
from ocitool.builder.frontend.variables import Scope
from ocitool.errors import DockerfileError, FormatError, StageCycle, UnknownStage
from ocitool.suggestions import closest, did_you_mean

#: What to do where a FROM expands to something that is no image's name.
ARG_HINT: Final = "give the ARG a default before the first FROM, or set it by --build-arg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage with its FROM expanded.

    ``base`` is an earlier stage's number, an image's name or a context; ``"scratch"`` is the empty
    image.  ``sources`` has for each ``--from`` text what it names.  ``arguments`` are
    the names of ARGs that its FROM uses.  ``triggers`` are the instructions that the base has
    recorded for it, known once `needed` has found the base.
    """

    parsed: ParsedStage
    base: Named
    platform: str = ""
    sources: Mapping[str, Named]
    replaced: bool = False  # by a context of its name, which is the base then, and all there is
    arguments: tuple[str, ...] = ()
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
            text = None
            try:
                used = Variables(scope.values)
                if default is not None and name not in given:
                    text = scope.expand(default, file.escape, used)
            except WordError as error:
                raise arg.span.error(str(error), hint=error.hint) from error
            scope.declare(name, text)
            own = scope.uses.get(name, ()) if name in used.found else ()  # ARG A=${A}b
            scope.uses[name] = (*own, *(each for each in used.found if each != name))
    return scope


def check_defaults(linter: Linter, file: Dockerfile, automatic: Mapping[str, str]) -> None:
    """Check that each FROM names an image without build arguments, too."""
    earlier: set[str] = set()
    try:
        scope = global_scope(file, automatic, {})
        for stage in file.stages:
            default = scope.expand(stage.from_.image, file.escape)
            checks.invalid_default_arg_in_from(linter, stage.from_, default, earlier)
            earlier.add(stage.from_.name or "")
    except (WordError, DockerfileError):
        return  # whether it is one with the build arguments, is found later


def resolve(
    file: Dockerfile, scope: Scope, linter: Linter, contexts: NamedContexts, first: str = ""
) -> tuple[Stage, ...]:
    """Expand each FROM, and find out what every stage refers to.

    *contexts* replace images and stages of their names.  *first* is the image of the first FROM,
    whatever that names.

    Raises:
        DockerfileError: an image or a platform of a FROM expands to nothing.
        UnknownStage: a ``--from`` number that no earlier stage has.
        StageCycle: a stage that needs itself.
    """
    earlier: dict[str, int] = {}
    stages: list[Stage] = []
    for parsed in file.stages:
        origin = parsed.from_
        image, used = _expanded(file, scope, linter, origin, origin.image)
        if first and not stages:
            image = first
        if not image:
            raise origin.span.error(
                f"base name ({origin.image}) should not be blank",
                hint=ARG_HINT,
            )
        platform, more = _platform(file, scope, linter, origin)
        context = contexts.find(origin.name) if origin.name else None
        base: Named | None = context
        if base is None:  # its case counts, in FROM alone
            base = earlier.get(image)
        if base is None:
            base = contexts.resolve(image)
        stages.append(
            Stage(
                parsed=parsed if context is None else replace(parsed, instructions=()),
                base=base,
                platform=platform,
                sources={},
                replaced=context is not None,
                arguments=tuple({**used.found, **more.found}),
            )
        )
        if origin.name:
            earlier[origin.name] = parsed.index
    names = _by_name(stages)
    return tuple(_with_sources(stage, names, len(stages), contexts) for stage in stages)


def _by_name(stages: Iterable[Stage]) -> dict[str, int]:
    """Return the numbers of stages by their names; of several with one name the last counts."""
    return {each.parsed.from_.name: each.index for each in stages if each.parsed.from_.name}


def _expanded(
    file: Dockerfile, scope: Scope, linter: Linter, origin: From, text: str
) -> tuple[str, Variables]:
    """Expand a word of a FROM, and return the variables that it used."""
    used = Variables(scope.values)
    try:
        expanded = scope.expand(text, file.escape, used)
    except WordError as error:
        message = str(error)
        if text is origin.platform:
            message = f"failed to process arguments for platform : {message}"
        raise origin.span.error(message, hint=error.hint) from error
    declared = {**scope.declared, **scope.values}
    checks.undefined_arg_in_from(linter, origin.span, used, declared)
    return expanded, used


def _platform(
    file: Dockerfile, scope: Scope, linter: Linter, origin: From
) -> tuple[str, Variables]:
    """Return the platform of a FROM, ``""`` without one, and the variables that it used."""
    if origin.platform is None:
        return "", Variables({})
    platform, used = _expanded(file, scope, linter, origin, origin.platform)
    checks.redundant_target_platform(linter, origin, used, platform)
    checks.from_platform_flag_const_disallowed(linter, origin, used, platform)
    if not platform:
        raise origin.span.error(
            f"empty platform value from expression {origin.platform}{_meant(scope, used)}",
            hint=ARG_HINT,
        )
    try:
        parse_platform(platform)
    except FormatError as error:
        message = f"failed to parse platform {origin.platform}: {error.message}"
        raise origin.span.error(f"{message}{_meant(scope, used)}", hint=error.hint) from error
    return platform, used


def _meant(scope: Scope, used: Variables) -> str:
    """Return the suggestion for a variable that is not set, if one has a near name."""
    names = (closest(name, scope.values) for name in sorted(used.unset))
    return did_you_mean(next(filter(None, names), ""))


def _with_sources(
    stage: Stage, names: Mapping[str, int], count: int, contexts: NamedContexts
) -> Stage:
    """Return *stage* with what it takes files from; *names* are those of all *count* stages."""
    return replace(stage, sources=_sources(stage, names, count, contexts))


def _sources(
    stage: Stage, names: Mapping[str, int], count: int, contexts: NamedContexts
) -> dict[str, Named]:
    found: dict[str, Named] = {}

    def resolve(name: str) -> Named:
        number = names.get(name.lower())
        return contexts.resolve(name) if number is None else number

    for number, instruction in enumerate(stage.instructions):
        if isinstance(instruction, Run):
            # Of a mount digits are the name of an image, as BuildKit has it.
            named = (mount.from_ for mount in instruction.mounts)
            found |= {name: resolve(name) for name in named if name}
        if not isinstance(instruction, Copy) or instruction.from_ is None:
            continue
        text = instruction.from_
        note = trigger_note(instruction.span.text) if number < len(stage.triggers) else ""
        if "$" in text:
            raise instruction.span.error(
                "variable expansion is not supported for --from, define a new stage with FROM "
                "using ARG from global scope as a workaround",
                hint=note,
            )
        if text.isdecimal():
            if _number(text) >= count:
                hint = note or _numbered(stage.index)
                error = UnknownStage(f"invalid stage index {text}", hint=hint)
                raise instruction.span.locate(error)
            found[text] = int(text)
        else:
            found[text] = resolve(text)
    return found


def _number(digits: str) -> int:
    """Return the number of a stage; Python refuses to read thousands of digits."""
    return int(digits) if len(digits) < 10 else sys.maxsize


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
    if target.isdecimal() and _number(target) < len(stages):
        return stages[int(target)]
    names = [stage.parsed.from_.name for stage in stages if stage.parsed.from_.name]
    near = closest(target, (stage.name for stage in stages))
    raise UnknownStage(
        f'target stage "{target}" could not be found{did_you_mean(near)}',
        hint=f"available stages: {', '.join(names)}" if names else "no stage has a name",
    )


Triggers: TypeAlias = Callable[[Stage, Stage | None], tuple[Instruction, ...]]
"""Returns the triggers for a stage; the second argument is the stage that it is based on."""


def no_triggers(stage: Stage, base: Stage | None) -> tuple[Instruction, ...]:
    """Know no triggers: what is wrong in the file itself is found without any image."""
    return ()


def needed(
    stages: tuple[Stage, ...],
    targets: Iterable[Stage],
    contexts: NamedContexts,
    triggers: Triggers,
) -> tuple[Stage, ...]:
    """Return the stages that *targets* need, and these, each after what it needs.

    They have their *triggers*, which are asked for once the stage below is complete: a trigger
    may need further stages.
    """
    names = _by_name(stages)
    done: dict[int, Stage] = {}
    complete: dict[int, Stage] = {}

    def wanted(stage: Stage) -> Iterator[int]:
        base = None
        if isinstance(stage.base, int):
            yield stage.base
            base = done[stage.base]
        stage = replace(stage, triggers=triggers(stage, base))
        stage = _with_sources(stage, names, len(stages), contexts)
        complete[stage.index] = stage
        yield from (other for other in stage.sources.values() if isinstance(other, int))

    for target in targets:
        if target.index not in done:
            _walk(stages, target, wanted, complete, done)
    return tuple(done.values())


def _reference(stage: Stage, other: int) -> Span:
    """Return where *stage* refers to the stage *other*."""
    for instruction in stage.instructions:
        names: Iterable[str | None] = ()
        if isinstance(instruction, Copy):
            names = (instruction.from_,)
        elif isinstance(instruction, Run):
            names = (mount.from_ for mount in instruction.mounts)
        if any(name and stage.sources.get(name) == other for name in names):
            return instruction.span
    return stage.parsed.from_.span


def _walk(
    stages: tuple[Stage, ...],
    target: Stage,
    wanted: Callable[[Stage], Iterator[int]],
    complete: Mapping[int, Stage],
    done: dict[int, Stage],
) -> None:
    """Add *target* to *done*, behind what it needs; *wanted* makes a stage *complete*."""
    # The path from the target to the current stage, each with what it still refers to.
    path = {target.index: wanted(target)}
    while path:
        index, others = next(reversed(path.items()))
        other = next(others, None)
        if other is None:
            done[index] = complete[index]
            del path[index]
        elif other in path:
            error = StageCycle(
                f"circular dependency detected on stage: {target.name}",
                hint="a stage may take files only from stages that do not need it",
            )
            raise _reference(complete.get(index, stages[index]), other).locate(error)
        elif other not in done:
            path[other] = wanted(stages[other])
