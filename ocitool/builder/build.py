"""build(): from a Dockerfile and its context to an image in a store, in two phases.

The frontend evaluates the Dockerfile to a definition; the solver finds or makes its layers.
"""

from __future__ import annotations

import contextlib

from ocitool.builder import inputs
from ocitool.builder.checks.parsing import parse_checked
from ocitool.builder.commit import Shape, commit, image_config
from ocitool.builder.contexts.opened import Contexts
from ocitool.builder.definition import LocalContext
from ocitool.builder.frontend.frontend import define
from ocitool.builder.options import BuildOptions, BuildResult
from ocitool.builder.outputs.export import Job, Sink, export, finished
from ocitool.builder.outputs.plan import planned, warnings_of
from ocitool.builder.secrets.agents import Agents
from ocitool.builder.secrets.secrets import Secrets
from ocitool.builder.solver.cache import Cache, LocalCache, NoCache
from ocitool.builder.solver.solver import Solver
from ocitool.builder.source_images import source_images
from ocitool.builder.surroundings import surroundings
from ocitool.oci.reference import Reference
from ocitool.progress import SILENT, CheckWarning, Notice, ProgressSink
from ocitool.store.store import Store


def build(
    options: BuildOptions,
    *,
    store: Store,
    progress: ProgressSink = SILENT,
    stdout: Sink | None = None,
) -> BuildResult:
    """Build an image, and keep it in *store* under the tags of *options* or write its outputs.

    *stdout* is called with what an output for standard output writes.

    What is unpacked or fetched of a context lies in *store* until the end of the build.

    Steps whose inputs are those of an earlier build are not executed again; if that is all of
    them, the image is the earlier one, with the same digest.

    Raises:
        DockerfileError: the Dockerfile is invalid; with the line.
        StepFailed: a RUN command failed; with its exit code and last lines.
        BuildError: something named is missing, or cannot be used as asked.
        OutputsFailed: there is an image, but some of several outputs have failed.
        OcitoolError: what the store, a registry or the sandbox raises.
    """
    with contextlib.ExitStack() as stack:
        return _build(options, store, progress, stdout, stack)


def _build(
    options: BuildOptions,
    store: Store,
    progress: ProgressSink,
    stdout: Sink | None,
    stack: contextlib.ExitStack,
) -> BuildResult:
    store.layout.require_writable()
    for tag in options.tags:
        Reference.parse_new(tag)  # an invalid tag is refused before the work, not after it
    inputs.require_image(options.from_image)
    outputs = planned(options)
    warnings: list[str] = []
    checks: list[CheckWarning] = []

    def warn(text: str) -> None:
        warnings.append(text)
        progress.emit(Notice(text=text, level="warning"))

    def warn_of(check: CheckWarning) -> None:
        checks.append(check)
        progress.emit(check)

    secrets = Secrets(options.secrets, Agents(options.ssh))
    for secret in filter(lambda secret: not secrets.read(secret), secrets):
        warn(f"secret {secret} is empty")
    contexts = Contexts(lambda: store, secrets, warn, inputs.named_files(options))
    stack.enter_context(contextlib.closing(contexts))
    files = inputs.main_context(options, contexts)
    dockerfiles = inputs.read_dockerfiles(options, files, contexts)
    file, linter = parse_checked(
        [(each.name, each.text) for each in dockerfiles],
        build_args=options.build_args,
        warn=warn_of,
    )
    images = source_images(options, store, progress)
    rules = inputs.rules_of(options, files, dockerfiles[0].path)
    contexts.put(LocalContext().name, files, rules)
    around = surroundings(options, store.network)
    arguments = inputs.arguments(options, rules, around, files.time)
    definition = define(file, arguments, images.resolve, warn, linter)
    for message in warnings_of(outputs, options, definition.epoch):
        warn(message)
    cache: Cache = LocalCache(store, ttl=options.cache_ttl)
    if options.no_cache:
        cache = NoCache(cache)
    # The layers of a result of which only files are written need no compression.
    compress = any(output.has_image for output in outputs)
    solution = Solver(
        definition,
        store=store,
        cache=cache,
        images=images,
        contexts=contexts,
        secrets=secrets,
        progress=progress,
        compress=compress,
    ).solve()
    if options.ignored_paths:
        from ocitool.builder.ignored_paths import require_unchanged

        require_unchanged(store, definition, solution, options.ignored_paths)
    if options.secrets and options.secret_scan:
        from ocitool.builder.secret_scan import scan

        config = image_config(definition, solution, "")
        scan(store, definition, solution, config, options.annotations, secrets, warn)
    committed = commit(
        store,
        definition,
        solution,
        shape=Shape(
            squash=options.squash, squash_base=options.squash_all, timestamp=options.timestamp
        ),
        cache=cache,
        fresh=options.no_cache or bool(definition.uncached),
        compress=compress,
        progress=progress,
    )
    job = Job(
        image=committed,
        epoch=definition.epoch,
        options=options,
        store=store,
        progress=progress,
        stdout=stdout,
    )
    exports, errors = export(outputs, job)
    result = BuildResult(
        descriptor=committed.manifest,
        image_id=committed.id,
        tags=(),
        steps=solution.steps,
        cached=solution.cached,
        warnings=(*warnings, *map(str, checks)),
        checks=tuple(checks),
    )
    return finished(result, exports, errors)
