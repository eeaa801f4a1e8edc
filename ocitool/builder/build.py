"""build(): from a context and a Dockerfile to an image in a store."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ocitool.builder import steps
from ocitool.builder.bases import Bases
from ocitool.builder.cache import Cache, LocalCache, NoCache
from ocitool.builder.commit import Product, commit, name
from ocitool.builder.context import Context
from ocitool.builder.dockerfile import instructions as do
from ocitool.builder.dockerfile.parser import parse
from ocitool.builder.evaluate import StageState, configure, is_configuration
from ocitool.builder.ignore import IgnoreRules
from ocitool.builder.options import BuildOptions, BuildResult
from ocitool.builder.plan import DEFAULT_PATH
from ocitool.builder.scope import PREDEFINED, Scope, platform_args
from ocitool.builder.solver import Solver
from ocitool.builder.stages import Stage, global_scope, needed, resolve, target_of
from ocitool.builder.workshop import Workshop
from ocitool.errors import BuildError, DockerfileError, FormatError, OcitoolError
from ocitool.image.image import Image
from ocitool.oci.config import RunConfig
from ocitool.oci.platform import Platform, this_platform
from ocitool.oci.reference import Reference
from ocitool.progress import SILENT, Notice, ProgressSink
from ocitool.store.layer import Layer
from ocitool.store.store import Store

_NAMES: Final = ("Dockerfile", "Containerfile")
_SCRATCH: Final = "scratch"


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
    for tag in options.tags:
        Reference.parse(tag)  # a wrong tag is told before the work, not after it
    return _Build(options, store, progress).run()


class _Build:
    def __init__(self, options: BuildOptions, store: Store, progress: ProgressSink) -> None:
        self._options = options
        self._store = store
        self._progress = progress
        top = os.path.abspath(options.context)
        if not os.path.isdir(top):
            raise BuildError("is not a directory", where=options.context)
        path, text = _read_dockerfile(options, top)
        self._file = parse(text, name=_shown(path))
        self._epoch = _epoch(options)
        context = Context(top, _ignore_rules(path, top), store.database)
        cache: Cache = LocalCache(store)
        if options.no_cache:
            cache = NoCache(cache)
        solver = Solver(store, cache, progress, self._epoch)
        self._shop = Workshop(
            store=store, solver=solver, context=context, progress=progress, epoch=self._epoch
        )
        self._bases = Bases(store, options, progress)
        self._build_platform = this_platform()
        self._platform = (
            Platform.parse(options.platform) if options.platform else self._build_platform
        )
        self._done: dict[int, tuple[StageState, Image | None]] = {}
        self._warnings: list[str] = []

    def run(self) -> BuildResult:
        automatic = platform_args(self._platform, self._build_platform, self._options.target)
        given = self._options.build_args
        globals_ = global_scope(self._file, automatic, given)
        stages = resolve(self._file, globals_)
        target = target_of(stages, self._options.target)
        for text in self._file.warnings:
            self._warn(text)
        try:
            for stage in needed(self._file, stages, target):
                self._stage(stage, globals_)
        finally:
            self._shop.context.close()
        state, base = self._done[target.index]
        product = _product(state, base)
        descriptor, image_id = commit(
            self._store, product, epoch=self._epoch, fresh=self._options.no_cache
        )
        tags = name(self._store, descriptor, self._options.tags)
        self._warn_of_unused(given, globals_.consumed)
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

    def _stage(self, stage: Stage, globals_: Scope) -> None:
        state, base = self._begin(stage, globals_)
        making = [i for i in stage.parsed.instructions if not is_configuration(i)]
        total = len(making) + 1
        at = 1
        for instruction in stage.parsed.instructions:
            if is_configuration(instruction):
                configure(state, instruction)
                continue
            at += 1
            text = _display(state, instruction)
            self._step(stage, state, instruction, f"[{stage.name} {at}/{total}] {text}")
        for variable in sorted(state.unset):
            self._warn(f"stage {stage.name}: ${variable} is used and has no value")
        self._done[stage.index] = (state, base)

    def _begin(self, stage: Stage, globals_: Scope) -> tuple[StageState, Image | None]:
        scope = Scope(given=globals_.given, globals=globals_.values, consumed=globals_.consumed)
        if isinstance(stage.base, int):
            before, base = self._done[stage.base]
            scope.inherit(before.scope.env, before.scope.args)
            state = replace(before, scope=scope, steps=list(before.steps), has_cmd=False)
            state.unset = set()
            return state, base
        platform = Platform.parse(stage.platform) if stage.platform else self._platform
        image = None
        run = RunConfig()
        layers: tuple[Layer, ...] = ()
        if stage.base != _SCRATCH:
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
        total = 1 + sum(not is_configuration(i) for i in stage.parsed.instructions)
        began = time.monotonic()
        step = self._shop.solver.begin(f"[{stage.name} 1/{total}] FROM {stage.base}")
        where = f"{self._file.name}:{span.first}"
        image = self._bases.get(str(stage.base), platform, where)
        self._shop.solver.end(step, began, cached=not self._options.pull)
        return image

    def _refuse_triggers(self, stage: Stage, run: RunConfig) -> None:
        if run.on_build:
            raise self._file.error(
                stage.parsed.from_.span,
                f"the base image has ONBUILD triggers ({run.on_build[0]}), which are not there yet",
                hint="write the triggers out in this Dockerfile, on a base without them",
            )

    def _step(
        self, stage: Stage, state: StageState, instruction: do.Instruction, label: str
    ) -> None:
        span = instruction.span
        try:
            if isinstance(instruction, do.Run):
                steps.run_step(self._shop, state, instruction, label)
            elif isinstance(instruction, do.Workdir):
                steps.workdir_step(self._shop, state, instruction, label)
            elif isinstance(instruction, do.Copy | do.Add):
                image = None
                if isinstance(instruction, do.Copy) and instruction.from_ is not None:
                    image = self._image_of(stage, state, instruction)
                steps.copy_step(self._shop, state, instruction, label, image)
        except DockerfileError:
            raise
        except FormatError as error:
            raise self._file.error(span, error.message, hint=error.hint) from error
        except OcitoolError as error:
            place = f"{self._file.name}:{span.first}"
            if not error.where.startswith(place):
                error.where = f"{place}: {error.where}" if error.where else place
            raise

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
        where = f"{self._file.name}:{instruction.span.first}"
        image = self._bases.get(source, state.platform, where)
        return source, image.layers

    # -- warnings ---------------------------------------------------------------------------

    def _warn_of_unused(self, given: Mapping[str, str], consumed: set[str]) -> None:
        ignored = PREDEFINED | {"SOURCE_DATE_EPOCH"}
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
        run=state.run,
        layers=state.layers,
        steps=tuple(state.steps),
        author=state.author,
    )


def _display(state: StageState, instruction: do.Instruction) -> str:
    """Return how a step is shown: as written, on one line."""
    text = instruction.span.text.split("\n", 1)[0] if instruction.span.text else ""
    return " ".join(text.split())


def _read_dockerfile(options: BuildOptions, top: str) -> tuple[str, bytes]:
    if options.dockerfile is not None:
        return options.file or "Dockerfile", options.dockerfile
    names = [options.file] if options.file else [f"{top}/{each}" for each in _NAMES]
    for path in names:
        try:
            with open(path, "rb") as file:
                return path, file.read()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BuildError(f"cannot be read: {error.strerror}", where=path) from error
    raise BuildError(
        "there is no such file" if options.file else "there is no Dockerfile",
        where=options.file or options.context,
        hint="name the Dockerfile by -f",
    )


def _shown(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _ignore_rules(dockerfile: str, top: str) -> IgnoreRules:
    """Read the Dockerfile's own ignore file, or else that of the context."""
    for path in (f"{dockerfile}.dockerignore", f"{top}/.dockerignore"):
        try:
            with open(path, "rb") as file:
                return IgnoreRules.parse(file.read(), name=_shown(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
    return IgnoreRules()


def _epoch(options: BuildOptions) -> int | None:
    text = options.build_args.get("SOURCE_DATE_EPOCH")
    if text is None:
        return options.source_date_epoch
    if not text.isdecimal():
        raise BuildError(
            f"SOURCE_DATE_EPOCH is {text!r}", hint="it is a number of seconds since 1970"
        )
    return int(text)
