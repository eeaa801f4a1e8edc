"""check(), outline() and targets(): a Dockerfile is read and evaluated, nothing is executed.

Images are looked up in the store and in registries for their configuration alone; no layer is
fetched, and nothing is written.
"""

from __future__ import annotations

import contextlib
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
from ocitool.builder.context.ignore import IgnoreRules
from ocitool.builder.contexts.opened import Contexts
from ocitool.builder.definition import ResolvedImage, Resolver, Surroundings
from ocitool.builder.dockerfile.lines import split
from ocitool.builder.dockerfile.parser import parse
from ocitool.builder.frontend import frontend
from ocitool.builder.frontend.outline import describe
from ocitool.builder.options import BuildOptions
from ocitool.builder.secrets.secrets import Secrets
from ocitool.errors import BuildError, OcitoolError
from ocitool.oci.platform import Platform
from ocitool.progress import SILENT, CheckWarning, Notice, ProgressSink
from ocitool.settings import Settings
from ocitool.store.store import Store

Opener: TypeAlias = Callable[[], Store | None]
"""Opens the store where images are looked up; returns None if there is none."""


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
    asked, rules_of = _asked(options)
    found: list[CheckWarning] = []
    failure: OcitoolError | None = None
    parsing = False
    try:
        source = split(asked.text, name=asked.name)
        wanted = CheckOptions.of(source, options.build_args)
        linter = Linter(replace(wanted, error=wanted.error or error), found.append)
        parsing = True
        file = parse_source(source, linter)
        parsing = False
        arguments = inputs.arguments(options, rules_of(), Surroundings())
        with _resolver(options, store, progress) as resolver:
            frontend.check(file, arguments, resolver, _warn(progress), linter)
    except OcitoolError as caught:
        failure = caught
    found.sort(key=lambda warning: warning.line)
    return CheckResult(file=asked, warnings=tuple(found), error=failure, unparsed=parsing)


def outline(
    options: BuildOptions, *, store: Store | Opener | None = None, progress: ProgressSink = SILENT
) -> OutlineResult:
    """Return what a build of the target can be given.

    Raises:
        DockerfileError: the Dockerfile is invalid; with the line.
        OcitoolError: as `build`.
    """
    asked, rules_of = _asked(options)
    file = parse(asked.text, name=asked.name)
    arguments = inputs.arguments(options, rules_of(), Surroundings())
    with _resolver(options, store, progress) as resolver:
        found = frontend.outline(file, arguments, resolver, _warn(progress))
    return OutlineResult(file=asked, outline=found)


def targets(options: BuildOptions) -> TargetsResult:
    """Return the stages of the Dockerfile; raises as `outline`."""
    asked, _ = _asked(options)
    file = parse(asked.text, name=asked.name)
    last = len(file.stages) - 1
    return TargetsResult(
        file=asked,
        targets=tuple(
            Target(
                name=stage.from_.name or "",
                description=describe(stage.from_.comments, stage.from_.name or ""),
                base=stage.from_.image,
                platform=stage.from_.platform or "",
                default=stage.index == last,
                span=stage.from_.span,
            )
            for stage in file.stages
        ),
    )


def _asked(options: BuildOptions) -> tuple[Asked, Callable[[], IgnoreRules]]:
    """Return the Dockerfile, and what reads the ignore rules of its context."""
    if len(options.files) > 1:
        raise BuildError(
            f"there are {len(options.files)} Dockerfiles, and the question is of one",
            hint="give one -f",
        )
    with contextlib.ExitStack() as stores:
        contexts = Contexts(
            lambda: stores.enter_context(_empty_store()), Secrets(options.secrets), lambda _: None
        )
        with contextlib.closing(contexts):
            files = contexts.main(options.context)
            (found,) = inputs.read_dockerfiles(options, files, contexts)
    asked = Asked(name=found.name, text=found.text)
    return asked, lambda: inputs.rules_of(options, files, found.path)


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
    from ocitool.builder.solver.images import SourceImages

    opened = store() if callable(store) else store
    if opened is None:
        opened = stack.enter_context(_empty_store())
    return SourceImages(opened, progress, pull=options.pull, access=options.access).resolve


@contextlib.contextmanager
def _empty_store() -> Iterator[Store]:
    """Yield a store in which there is nothing, and that is gone afterwards."""
    import tempfile

    with (
        tempfile.TemporaryDirectory(prefix="ocitool-") as root,
        Store(Settings.load(flags={"root": f"{root}/store"})) as store,
    ):
        yield store
