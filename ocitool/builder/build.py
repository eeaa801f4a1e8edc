"""build(): from a context and a Dockerfile to an image in a store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from ocitool.builder import inputs
from ocitool.builder.commit import Product, commit, name
from ocitool.builder.context.context import Context
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.lines import Span
from ocitool.builder.dockerfile.parser import parse
from ocitool.builder.frontend import steps
from ocitool.builder.frontend.base_images import Bases
from ocitool.builder.frontend.evaluate import StageState, configure, is_configuration
from ocitool.builder.frontend.stages import Stage, global_scope, leaving, needed, resolve, target_of
from ocitool.builder.frontend.variables import PREDEFINED, Scope, platform_args
from ocitool.builder.options import BuildOptions, BuildResult
from ocitool.builder.solver.cache import Cache, LocalCache, NoCache
from ocitool.builder.solver.ops import DEFAULT_PATH
from ocitool.builder.solver.solver import Solver
from ocitool.builder.solver.step_context import Workshop
from ocitool.errors import BuildError, DockerfileError, FormatError, OcitoolError
from ocitool.image.image import Image
from ocitool.oci.config import RunConfig
from ocitool.oci.platform import Platform, this_platform
from ocitool.oci.reference import Reference
from ocitool.progress import SILENT, Notice, ProgressSink, StepErred
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store

_SCRATCH: Final = "scratch"
_EPOCH: Final = "SOURCE_DATE_EPOCH"


def build(options: BuildOptions, *, store: Store, progress: ProgressSink = SILENT) -> BuildResult:
    """Build an image and keep it in *store* under the tags of *options*.

    Steps whose inputs are those of an earlier build are not done again; if that is all of them,
    the image is the earlier one, with the same digest.

    Raises:
        DockerfileError: the Dockerfile is wrong; with the line.
        StepFailed: a RUN command failed; with its exit code and last lines.
        BuildError: something named is not there, or cannot be used as asked.
        OcitoolError: what the store, a registry or the sandbox raises.
    """
    store.layout.require_writable()
    for tag in options.tags:
        Reference.parse(tag)  # a wrong tag is told before the work, not after it
    return _Build(options, store, progress).run()


class _Build:
    def __init__(self, options: BuildOptions, store: Store, progress: ProgressSink) -> None:
        self._options = options
        self._store = store
        self._progress = progress
        top = inputs.context_directory(options)
        path, text = inputs.read_dockerfile(options, top)
        self._file = parse(text, name=inputs.shown(path))
        self._build_platform = this_platform()
        self._platform = (
            Platform.parse(options.platform) if options.platform else self._build_platform
        )
        self._globals = self._global_scope()
        self._epoch = inputs.epoch(options, self._globals.values.get(_EPOCH))
        context = Context(top, inputs.ignore_rules(path, top), store.build_cache)
        cache: Cache = LocalCache(store)
        if options.no_cache:
            cache = NoCache(cache)
        solver = Solver(store, cache, progress, self._epoch)
        self._shop = Workshop(
            store=store, solver=solver, context=context, progress=progress, epoch=self._epoch
        )
        self._bases = Bases(store, options, progress)
        self._done: dict[int, tuple[StageState, Image | None]] = {}
        self._warnings: list[str] = []

    def _global_scope(self) -> Scope:
        automatic = platform_args(self._platform, self._build_platform, self._options.target)
        given = dict(self._options.build_args)
        epoch = inputs.epoch(self._options)
        if epoch is not None:
            given[_EPOCH] = str(epoch)  # an ARG may ask for it
        return global_scope(self._file, automatic, given)

    def run(self) -> BuildResult:
        globals_ = self._globals
        stages = resolve(self._file, globals_)
        target = target_of(stages, self._options.target)
        for text in self._file.warnings:
            self._warn(text)
        try:
            kept = leaving(stages, target)
            for stage in needed(self._file, stages, target):
                # What no image gets stays as it is: compressing it would be for nobody.
                compression = "gzip" if stage.index in kept else "none"
                self._stage(stage, replace(self._shop, compression=compression), globals_)
        finally:
            self._shop.context.close()
        state, base = self._done[target.index]
        product = _product(state, base)
        descriptor, image_id = commit(
            self._store,
            product,
            epoch=self._epoch,
            fresh=self._options.no_cache,
            progress=self._progress,
        )
        tags = name(self._store, descriptor, self._options.tags)
        self._warn_of_unused(globals_.given, globals_.consumed)
        solver = self._shop.solver
        return BuildResult(
            descriptor=descriptor,
            image_id=image_id,
            tags=tags,
            steps=solver.steps,
            cached=solver.cached,
            warnings=tuple(self._warnings),
        )

    # -- a stage ----------------------------------------------------------------------------

    def _stage(self, stage: Stage, shop: Workshop, globals_: Scope) -> None:
        state, base = self._begin(stage, globals_)
        at = int(_starts_from_image(stage))
        total = _count_steps(stage)
        for instruction in stage.parsed.instructions:
            if is_configuration(instruction):
                configure(state, instruction)
            else:
                at += 1
                text = " ".join(instruction.span.text.split())
                label = f"[{stage.name} {at}/{total}] {text}"
                self._step(stage, shop, state, instruction, label)
            for variable in sorted(state.unset):
                place = f"{self._file.name}:{instruction.span.first}"
                self._warn(f"{place}: ${variable} is used and has no value")
            state.unset.clear()
        self._done[stage.index] = (state, base)

    def _begin(self, stage: Stage, globals_: Scope) -> tuple[StageState, Image | None]:
        scope = Scope(
            given=globals_.given,
            globals=globals_.values,
            consumed=globals_.consumed,
            allowance=globals_.allowance,
        )
        if isinstance(stage.base, int):
            before, base = self._done[stage.base]
            scope.inherit(before.scope.env, before.scope.args)
            state = replace(before, scope=scope, steps=list(before.steps), has_cmd=False)
            state.unset = set()
            return state, base
        platform = self._platform
        if stage.platform:
            with self._place_of_errors(stage.parsed.from_.span):
                platform = Platform.parse(stage.platform)
        image = None
        run = RunConfig(working_dir="/")
        layers: tuple[Layer, ...] = ()
        if _starts_from_image(stage):
            image = self._from(stage, platform)
            run, layers = image.config.run, image.layers
            self._refuse_triggers(stage, run)
        if "PATH" not in run.environment():
            run = run.with_env({"PATH": DEFAULT_PATH})
        scope.inherit(run.environment(), {})
        state = StageState(file=self._file, scope=scope, platform=platform, run=run, layers=layers)
        return state, image

    def _from(self, stage: Stage, platform: Platform) -> Image:
        span = stage.parsed.from_.span
        began = time.monotonic()
        label = f"[{stage.name} 1/{_count_steps(stage)}] FROM {stage.base}"
        step = self._shop.solver.begin(label)
        try:
            with self._place_of_errors(span):
                image = self._bases.get(str(stage.base), platform)
        except OcitoolError as error:
            self._progress.emit(StepErred(step=step, message=error.message))
            raise
        self._shop.solver.end(step, began, cached=image.digest not in self._bases.pulled)
        return image

    def _refuse_triggers(self, stage: Stage, run: RunConfig) -> None:
        if run.on_build:
            raise self._file.error(
                stage.parsed.from_.span,
                f"the base image has ONBUILD triggers ({run.on_build[0]}), which are not there yet",
                hint="write the triggers out in this Dockerfile, on a base without them",
            )

    def _step(
        self,
        stage: Stage,
        shop: Workshop,
        state: StageState,
        instruction: do.Instruction,
        label: str,
    ) -> None:
        with self._place_of_errors(instruction.span):
            if isinstance(instruction, do.Run):
                steps.run_step(shop, state, instruction, label)
            elif isinstance(instruction, do.Workdir):
                steps.workdir_step(shop, state, instruction, label)
            elif isinstance(instruction, do.Copy | do.Add):
                image = None
                if isinstance(instruction, do.Copy) and instruction.from_ is not None:
                    image = self._image_of(stage, state, instruction)
                steps.copy_step(shop, state, instruction, label, image)

    @contextlib.contextmanager
    def _place_of_errors(self, span: Span) -> Iterator[None]:
        """Let errors tell which line of the Dockerfile they come from."""
        try:
            yield
        except DockerfileError:
            raise
        except FormatError as error:
            raise self._file.error(span, error.message, hint=error.hint) from error
        except OcitoolError as error:
            place = f"{self._file.name}:{span.first}"
            if not error.where.startswith(place):
                error.where = f"{place}: {error.where}" if error.where else place
            raise
        except OSError as error:  # of the context: the store tells of its own
            if error.filename is None or not error.strerror:
                raise
            raise BuildError(
                f"{error.filename}: {error.strerror}",
                where=f"{self._file.name}:{span.first}",
                hint="make it readable, or name it in .dockerignore",
            ) from error

    def _image_of(
        self, stage: Stage, state: StageState, instruction: do.Copy
    ) -> tuple[str, tuple[Layer, ...]]:
        assert instruction.from_ is not None
        source = stage.sources[instruction.from_]
        if isinstance(source, int):
            other, _ = self._done[source]
            return f"stage {instruction.from_}", other.layers
        if source == _SCRATCH:
            return source, ()
        image = self._bases.get(source, state.platform)
        return source, image.layers

    # -- warnings ---------------------------------------------------------------------------

    def _warn_of_unused(self, given: Mapping[str, str], consumed: set[str]) -> None:
        ignored = PREDEFINED | {_EPOCH}
        unused = sorted(set(given) - consumed - ignored)
        if unused:
            self._warn(f"one or more build args were not consumed: {', '.join(unused)}")

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        self._progress.emit(Notice(text=text, level="warning"))


def _product(state: StageState, base: Image | None) -> Product:
    return Product(
        base=base,
        platform=base.config.platform if base is not None else state.platform,
        run=state.config,
        layers=state.layers,
        steps=tuple(state.steps),
        author=state.author,
    )


def _starts_from_image(stage: Stage) -> bool:
    return isinstance(stage.base, str) and stage.base != _SCRATCH


def _count_steps(stage: Stage) -> int:
    steps = sum(not is_configuration(each) for each in stage.parsed.instructions)
    return steps + _starts_from_image(stage)
