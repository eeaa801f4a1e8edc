"""check(), outline() and targets(): a Dockerfile is read and evaluated, nothing is executed.

Images are looked up in the store and in registries for their configuration alone; no layer is
fetched.  The store keeps fetched commits of git contexts, as in a build; nothing
else is written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

from ocitool.builder import inputs
from ocitool.builder.calls.results import (
    Asked,
    CheckResult,
    OutlineResult,
    Target,
    TargetsResult,
)
from ocitool.builder.checks.linter import Linter
from ocitool.builder.checks.options import CheckOptions
from ocitool.builder.checks.parsing import parse_source
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.builder.context_sources.opened import Contexts
from ocitool.builder.definition import ResolvedImage, Resolver, Surroundings
from ocitool.builder.dockerfile.lines.joined import joined
from ocitool.builder.dockerfile.lines.split import split
from ocitool.builder.dockerfile.parser import parse_files
from ocitool.builder.frontend import frontend
from ocitool.builder.frontend.outline import describe
from ocitool.builder.options import BuildOptions
from ocitool.builder.secrets.secrets import Secrets
from ocitool.builder.secrets.ssh.agents import Agents
from ocitool.builder.shown_steps import ShownSteps
from ocitool.errors import OcitoolError
from ocitool.layer.locks import temporary_directory
from ocitool.oci.platform import Platform
from ocitool.progress import SILENT, CheckWarning, Notice, ProgressSink
from ocitool.settings import Settings
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.store import Store

Opener: TypeAlias = Callable[[], Store | None]
"""Opens the store where images are looked up; returns None where no store exists."""


def check(
    options: BuildOptions,
    *,
    error: bool = False,
    store: Store | Opener | None = None,
    progress: ProgressSink = SILENT,
) -> CheckResult:
    """Execute the build checks: of all stages, but with a target only of those that it needs.

    With *error* any warning is an error.  *store* is where images are looked up before a registry
    is asked.

    Raises:
        OcitoolError: there is no Dockerfile; what is wrong with it is in the result.
    """
    files, rules_of = _asked(options, store)
    found: list[CheckWarning] = []
    failure: OcitoolError | None = None
    try:
        source = joined([split(file.text, name=file.name) for file in files])
        wanted = CheckOptions.of(source, options.build_args)
        linter = Linter(replace(wanted, error=wanted.error or error), found.append)
        file = parse_source(source, linter)
        arguments = inputs.arguments(options, rules_of(), Surroundings())
        with _resolver(options, store, progress) as resolver:
            frontend.check(file, arguments, resolver, _warn(progress), linter)
    except OcitoolError as caught:
        failure = caught
    order = [file.name for file in files]
    found.sort(key=lambda warning: (order.index(warning.file), warning.line))
    return CheckResult(files=files, warnings=tuple(found), error=failure)


def outline(
    options: BuildOptions, *, store: Store | Opener | None = None, progress: ProgressSink = SILENT
) -> OutlineResult:
    """Return what a build of the target can be given.

    Raises:
        DockerfileError: the Dockerfile is invalid; with the line.
        OcitoolError: as `build`.
    """
    files, rules_of = _asked(options, store)
    file = parse_files([(each.name, each.text) for each in files])
    arguments = inputs.arguments(options, rules_of(), Surroundings())
    with _resolver(options, store, progress) as resolver:
        found = frontend.outline(file, arguments, resolver, _warn(progress))
    return OutlineResult(files=files, outline=found)


def dockerfile(options: BuildOptions, *, store: Store | Opener | None = None) -> tuple[Asked, ...]:
    """Return the texts; `OcitoolError` where there is no Dockerfile."""
    return _asked(options, store)[0]


def targets(options: BuildOptions, *, store: Store | Opener | None = None) -> TargetsResult:
    """Return the stages of the Dockerfile; raises as `outline`."""
    files, _ = _asked(options, store)
    file = parse_files([(each.name, each.text) for each in files])
    last = len(file.stages) - 1
    return TargetsResult(
        files=files,
        targets=tuple(
            Target(
                name=stage.from_.name or "",
                description=describe(stage.from_.span.comments, stage.from_.name or ""),
                base=stage.from_.image,
                platform=stage.from_.platform or "",
                default=stage.index == last,
                span=stage.from_.span,
            )
            for stage in file.stages
        ),
    )


def _asked(
    options: BuildOptions, store: Store | Opener | None
) -> tuple[tuple[Asked, ...], Callable[[], IgnoreRules]]:
    """Return the Dockerfiles, and what reads the ignore rules of the context."""
    with contextlib.ExitStack() as stores:
        contexts = Contexts(
            lambda: _opened(store, stores, writable=True),
            Secrets(options.secrets, Agents(options.ssh)),
            lambda _: None,
            ShownSteps(SILENT),
        )
        with contextlib.closing(contexts):
            files = inputs.main_context(options, contexts)
            found = inputs.read_dockerfiles(options, files, contexts)
    asked = tuple(Asked(name=each.name, text=each.text) for each in found)
    return asked, lambda: inputs.rules_of(options, files, found[0].path)


def _warn(progress: ProgressSink) -> Callable[[str], None]:
    return lambda text: progress.emit(Notice(text=text, level="warning"))


@contextlib.contextmanager
def _resolver(
    options: BuildOptions, store: Store | Opener | None, progress: ProgressSink
) -> Iterator[Resolver]:
    """Yield a resolver that opens the store when the first image is looked up."""
    with contextlib.ExitStack() as stack:
        images: list[Resolver] = []

        def resolve(reference: str, platform: Platform) -> ResolvedImage:
            if not images:
                images.append(_images(options, store, progress, stack))
            return images[0](reference, platform)

        yield resolve


def _images(
    options: BuildOptions,
    store: Store | Opener | None,
    progress: ProgressSink,
    stack: contextlib.ExitStack,
) -> Resolver:
    from ocitool.builder.source_images import source_images

    return source_images(options, _opened(store, stack), progress, claim=False).resolve


def _opened(
    store: Store | Opener | None, stack: contextlib.ExitStack, *, writable: bool = False
) -> Store:
    """Return the store if there is one that can be used, or an empty one that *stack* removes."""
    opened = store() if callable(store) else store
    if opened is None or (writable and opened.layout.readonly):
        return stack.enter_context(_empty_store())
    return opened


@contextlib.contextmanager
def _empty_store() -> Iterator[Store]:
    """Yield a store in which there is nothing, and that is gone afterwards."""
    import tempfile

    with contextlib.ExitStack() as stack:
        with full_disk(os.environ.get("TMPDIR") or "/tmp"):
            made = temporary_directory(tempfile.gettempdir(), "ocitool-call-")
            root = stack.enter_context(made)
        yield stack.enter_context(Store(Settings.load(flags={"root": f"{root}/store"})))
