"""A Dockerfile to a definition: the stages that the target needs, evaluated line by line.

Nothing is executed here, and of images only the configuration is looked at, through a `Resolver`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from ocitool.builder.build_arguments import EPOCH, HOSTNAME_ARG, MULTI_PLATFORM
from ocitool.builder.checks.bases import invalid_base_image_platform
from ocitool.builder.checks.linter import Linter
from ocitool.builder.checks.options import CHECK_ARG, NO_CHECKS
from ocitool.builder.definition import (
    Definition,
    Graph,
    ImageDefinition,
    LocalContext,
    Location,
    Resolver,
    SourceImage,
    Step,
)
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.lines.directives import SYNTAX_ARG, check_given_syntax
from ocitool.builder.dockerfile.parser import Dockerfile, parse_trigger, trigger_note
from ocitool.builder.entitlements import require_entitled
from ocitool.builder.frontend import steps
from ocitool.builder.frontend.arguments import Arguments
from ocitool.builder.frontend.epoch import settle_epoch
from ocitool.builder.frontend.evaluate import (
    StageState,
    absolute,
    configure,
    is_configuration,
)
from ocitool.builder.frontend.mounts import CACHE_NAMESPACE
from ocitool.builder.frontend.outline import Outline, Used, outline_of
from ocitool.builder.frontend.sources.images import Images
from ocitool.builder.frontend.sources.named_contexts import NamedContexts
from ocitool.builder.frontend.sources.sources import Sources
from ocitool.builder.frontend.stages import (
    Stage,
    check_defaults,
    global_scope,
    needed,
    no_triggers,
    resolve,
    target_of,
)
from ocitool.builder.frontend.step_names import (
    count_steps,
    has_base,
    location_of,
    prefix,
    shown,
    starts_from_image,
)
from ocitool.builder.frontend.variables import PROXIES, Scope, platform_args
from ocitool.builder.git.reference import KEEP_GIT_DIR
from ocitool.oci.config import ImageConfig, RunConfig
from ocitool.oci.platform import WINDOWS, Platform
from ocitool_runtime.defaults import DEFAULT_PATH

#: Build arguments that no ARG has to name.
_KNOWN: Final = frozenset(
    {EPOCH, CHECK_ARG, CACHE_NAMESPACE, KEEP_GIT_DIR, HOSTNAME_ARG, SYNTAX_ARG, MULTI_PLATFORM}
)


def define(
    file: Dockerfile,
    arguments: Arguments,
    resolver: Resolver,
    warn: Callable[[str], None],
    linter: Linter | None = None,
) -> Definition:
    """Evaluate *file* and return what has to be built.

    *warn* gets each warning, *linter* what the checks find; without one nothing is checked.

    Raises:
        DockerfileError: a value is invalid once its variables are expanded; with the line.
        BuildError: a stage is missing, or needs itself; or a warning of *linter* is an error.
        OcitoolError: what *resolver* raises, with the line.
    """
    linter = linter or Linter(NO_CHECKS)
    definition = _Frontend(file, arguments, resolver, warn, linter).define()
    linter.raise_errors()
    return definition


def check(
    file: Dockerfile,
    arguments: Arguments,
    resolver: Resolver,
    warn: Callable[[str], None],
    linter: Linter,
) -> None:
    """Evaluate *file* for its checks: all stages, but with a target only what that needs.

    Raises as `define`.
    """
    _Frontend(file, arguments, resolver, warn, linter).evaluate(everything=not arguments.target)
    linter.raise_errors()


def outline(
    file: Dockerfile,
    arguments: Arguments,
    resolver: Resolver,
    warn: Callable[[str], None],
) -> Outline:
    """Return what a build of the target can be given; raises as `define`."""
    return _Frontend(file, arguments, resolver, warn, Linter(NO_CHECKS)).outline()


class _Frontend:
    def __init__(
        self,
        file: Dockerfile,
        arguments: Arguments,
        resolver: Resolver,
        warn: Callable[[str], None],
        linter: Linter,
    ) -> None:
        check_given_syntax(arguments.build_args)
        for text in file.warnings:
            warn(text)
        self._file = file
        self._warn = warn
        self._linter = linter
        self._arguments = arguments
        self._target = arguments.target
        self._around = arguments.around
        self._no_cache_filter = {name.lower() for name in arguments.no_cache_filter}
        self._uncached: set[int] = set()
        given = dict(arguments.build_args)
        if arguments.epoch is not None:
            given.setdefault(EPOCH, str(arguments.epoch))
        last = file.stages[-1].from_.name or "" if file.stages else ""
        target = arguments.target or last
        automatic = platform_args(arguments.platform, arguments.build_platform, target)
        check_defaults(linter, file, automatic)
        self._globals = global_scope(file, automatic, given)
        self._contexts = NamedContexts(arguments.contexts)
        time_of = arguments.time_of
        self._epoch = settle_epoch(file, self._globals, self._contexts, time_of)
        self._graph = Graph()
        self._images = Images(file, self._graph, resolver, arguments.platform, arguments.contexts)
        self._stages: dict[int, Stage] = {}  # that are evaluated, with their triggers
        self._done: dict[int, StageState] = {}
        self._sources = Sources(self._graph, self._images, self._done)

    def evaluate(self, *, everything: bool = False) -> Stage:
        """Evaluate the stages that the target needs, or all; returns the target."""
        stages = resolve(
            self._file, self._globals, self._linter, self._contexts, self._arguments.first_base
        )
        target = target_of(stages, self._target)
        wanted = stages if everything else (target,)
        needed(stages, stages, self._contexts, no_triggers)  # finds circles anywhere
        for stage in needed(stages, wanted, self._contexts, self._triggers):
            self._stages[stage.index] = stage
            self._done[stage.index] = self._stage(stage)
        self._warn_of_unused()
        self._warn_of_unknown(stages)
        return target

    def outline(self) -> Outline:
        target = self.evaluate()
        used = {index: state.used for index, state in self._done.items()}
        return outline_of(self._file, self._globals, target, self._stages, used)

    def define(self) -> Definition:
        target = self.evaluate()
        require_entitled(self._graph, self._around.network, self._arguments.entitlements)
        state = self._done[target.index]
        base = state.base
        return Definition(
            vertices=tuple(self._graph.vertices),
            result=state.vertex,
            image=ImageDefinition(
                platform=self._platform(base),
                run=self._arguments.overriding(state.config, self._warn),
                history=tuple(state.history),
                author=state.author,
                base=base,
                annotations=self._arguments.annotations,
                created_annotation=self._arguments.created_annotation,
                omit_history=self._arguments.omit_history,
            ),
            epoch=self._epoch,
            uncached=frozenset(self._uncached),
            names=self._graph.names,
            locations=self._graph.locations,
        )

    def _platform(self, base: ImageConfig | None) -> Platform:
        """Return the platform of the image: its base's, unless one was asked for."""
        wanted = self._arguments.platform
        if base is None:
            return wanted
        return wanted.over(base.platform) if self._arguments.platform_given else base.platform

    def _triggers(self, stage: Stage, base: Stage | None) -> tuple[do.Instruction, ...]:
        """Parse the triggers that the base of *stage* has for it: an image, or the stage *base*."""
        texts = () if base is None else base.on_build
        origin = base if base is not None and base.replaced else stage
        if isinstance(origin.base, str) and starts_from_image(origin) and not stage.replaced:
            texts = self._images.base(origin, origin.base).config.run.on_build
        triggers = []
        for text in texts:
            trigger, warnings = parse_trigger(text, stage.parsed.from_.span)
            triggers.append(trigger)
            for warning in warnings:
                self._warn(warning)
        return tuple(triggers)

    # -- a stage ----------------------------------------------------------------------------

    def _stage(self, stage: Stage) -> StageState:
        state = self._begin(stage)
        at = int(has_base(stage))
        total = count_steps(stage)
        for number, instruction in enumerate(stage.instructions):
            text = shown(instruction)
            location = location_of(instruction.span)
            if number < len(stage.triggers):
                location = replace(location, note=trigger_note(text))
                text = f"ONBUILD {text}"
            with location.in_errors():
                if is_configuration(instruction):
                    configure(state, instruction)
                else:
                    before = state.vertex
                    name = f"{prefix(stage, at + 1, total)} {text}"
                    self._step(stage, state, instruction, location, name)
                    at += state.vertex != before  # what is not shown counts in the total alone
        return state

    def _begin(self, stage: Stage) -> StageState:
        if isinstance(stage.base, int):
            before = self._done[stage.base]
            return replace(
                before,
                run=self._inherited(before.run),
                scope=before.scope.copy(),
                history=list(before.history),
                only_once={},
                used=Used(),
            )
        platform = self._images.platform_of(stage)
        run, base, vertex = RunConfig(working_dir="/"), None, self._images.scratch
        if isinstance(stage.base, str) and starts_from_image(stage):
            vertex, base = self._from(stage, stage.base, platform)
            run = self._inherited(base.run)
            if run.working_dir:
                run = replace(run, working_dir=absolute(run.working_dir))
        if "PATH" not in run.environment() and platform.os != WINDOWS:
            run = run.with_env({"PATH": DEFAULT_PATH})
        scope = Scope(
            given=self._globals.given,
            globals=self._globals.values,
            consumed=self._globals.consumed,
            allowance=self._globals.allowance,
        )
        scope.inherit(run.environment())
        state = StageState(
            file=self._file,
            linter=self._linter,
            ignored=self._arguments.ignored,
            span=stage.parsed.from_.span,
            scope=scope,
            platform=platform,
            run=run,
            around=self._around,
            entitlements=self._arguments.entitlements,
            base=base,
            vertex=vertex,
        )
        if isinstance(stage.base, LocalContext):
            name = f"{prefix(stage, 1, count_steps(stage))} FROM {stage.parsed.from_.image}"
            location = location_of(stage.parsed.from_.span)
            state.vertex = self._sources.base(stage.base, state, location, name)
            state.add_history(f"FROM {stage.parsed.from_.image}", state.vertex)
        return state

    def _inherited(self, run: RunConfig) -> RunConfig:
        """Return what a stage has of *run*, its base's: not the triggers, which it executes."""
        labels = run.labels if self._arguments.inherit_labels else {}
        return replace(run, on_build=(), labels=labels)

    def _from(self, stage: Stage, reference: str, platform: Platform) -> tuple[int, ImageConfig]:
        location = location_of(stage.parsed.from_.span)
        image = self._images.base(stage, reference)
        span = stage.parsed.from_.span
        invalid_base_image_platform(self._linter, span, reference, image.config, platform)
        vertex = SourceImage(reference=reference, platform=platform, digest=image.digest)
        name = f"{prefix(stage, 1, count_steps(stage))} FROM {reference}"
        return self._graph.add(vertex, location, name), image.config

    def _step(
        self,
        stage: Stage,
        state: StageState,
        instruction: do.Instruction,
        location: Location,
        name: str,
    ) -> None:
        vertex: Step | None
        state.span = instruction.span
        if state.base is not None and state.is_windows:
            raise instruction.span.error(
                "layers on top of a Windows image are not supported",
                hint="build it on Windows; here it can get what needs no files, as ENV and CMD",
            )
        if isinstance(instruction, do.Run):
            vertex, created_by = steps.run(
                state,
                instruction,
                lambda name, target: self._sources.mounted(stage, name, target, location),
            )
        elif isinstance(instruction, do.Workdir):
            vertex, created_by = steps.workdir(state, instruction)
        elif isinstance(instruction, do.Copy | do.Add):
            name_of_source = instruction.from_ if isinstance(instruction, do.Copy) else None
            source, called = self._sources.copied(stage, name_of_source, location)
            vertex, created_by = steps.copy(
                state,
                instruction,
                source,
                called,
                fetch=lambda remote: self._graph.add(remote, location),
                warn=lambda text: self._warn(f"{location}: {text}"),
            )
        else:
            raise AssertionError(f"neither configuration nor a step: {instruction}")
        if vertex is None:
            state.add_history(created_by)
            return
        state.vertex = self._graph.add(vertex, location, name)
        if stage.parsed.from_.name in self._no_cache_filter:
            self._uncached.add(state.vertex)
        state.add_history(created_by, state.vertex)

    def _warn_of_unused(self) -> None:
        unused = set(self._globals.given) - self._globals.consumed - _KNOWN
        unused = {name for name in unused if name.upper() not in PROXIES}
        if unused:
            self._warn(f"one or more build args were not consumed: {', '.join(sorted(unused))}")

    def _warn_of_unknown(self, stages: Sequence[Stage]) -> None:
        for name in sorted(self._no_cache_filter - {stage.parsed.from_.name for stage in stages}):
            self._warn(f"no stage is named {name!r}: --no-cache-filter has no effect")
        for name in self._contexts.unused():
            self._warn(f"no image and no stage is named {name!r}: this build context is not used")
