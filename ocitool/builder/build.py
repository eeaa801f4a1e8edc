"""build(): from a Dockerfile and its context to an image in a store, in two phases.

The frontend evaluates the Dockerfile to a definition; the solver finds or makes its layers.
"""

from __future__ import annotations

import contextlib

from ocitool.builder import inputs
from ocitool.builder.checks.parsing import parse_checked
from ocitool.builder.commit.commit import Committed, Shape, commit, image_config
from ocitool.builder.context_sources.opened import Contexts
from ocitool.builder.definition import Definition, LocalContext
from ocitool.builder.frontend.frontend import define
from ocitool.builder.options import BuildOptions, BuildResult
from ocitool.builder.outputs.export import Job, Sink, export, finished
from ocitool.builder.outputs.plan import planned, warnings_of
from ocitool.builder.secrets.secrets import Secrets
from ocitool.builder.secrets.ssh.agents import Agents
from ocitool.builder.shown_steps import ShownSteps
from ocitool.builder.solver.cache import Cache, LocalCache, NoCache
from ocitool.builder.solver.solver import Solution, Solver
from ocitool.builder.source_images import source_images
from ocitool.builder.surroundings import surroundings
from ocitool.builder.transports import instead_of_tag
from ocitool.errors import BadReference, during
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
    store.layout.require_writable()
    for tag in options.tags:
        with during(f"tagging as {tag}"):  # which is refused before the work, not after it
            _require_name(tag)
    inputs.require_image(options.from_image)
    outputs = planned(options)
    with contextlib.closing(_Build(options, store, progress)) as work:
        definition = work.define()
        for message in warnings_of(outputs, options, definition.epoch):
            work.warn(message)
        for tag in options.tags:
            if use := instead_of_tag(tag):
                work.warn(f"{tag} is the name of an image, and no destination: {use}")
        # The layers of a result of which only files are written need no compression.
        compress = any(output.has_image for output in outputs)
        solution = work.solve(definition, compress=compress)
        committed = work.commit(definition, solution, compress=compress)
        job = Job(
            image=committed,
            epoch=definition.epoch,
            options=options,
            store=store,
            progress=progress,
            stdout=stdout,
        )
        exports, errors = export(outputs, job)
        return finished(work.result(committed, solution), exports, errors)


def _require_name(tag: str) -> None:
    """Refuse a *tag* that cannot be a name; `BadReference`, which knows the destinations."""
    try:
        Reference.parse_new(tag)
    except BadReference as error:
        error.hint = instead_of_tag(tag) or error.hint
        raise


class _Build:
    """The phases of one build, with what they share."""

    def __init__(self, options: BuildOptions, store: Store, progress: ProgressSink) -> None:
        self._options = options
        self._store = store
        self._progress = progress
        self._warnings: list[str] = []
        self._checks: list[CheckWarning] = []
        cache: Cache = LocalCache(store, ttl=options.cache_ttl)
        self._cache = NoCache(cache) if options.no_cache else cache
        self._images = source_images(options, store, progress)
        self._secrets = Secrets(options.secrets, Agents(options.ssh))
        for secret in filter(lambda secret: not self._secrets.read(secret), self._secrets):
            self.warn(f"secret {secret} is empty")
        named = inputs.named_files(options)
        self._steps = ShownSteps(progress)
        self._contexts = Contexts(lambda: store, self._secrets, self.warn, self._steps, named)

    def close(self) -> None:
        """Remove what was unpacked or fetched of contexts."""
        self._contexts.close()

    def warn(self, text: str) -> None:
        """Emit a warning, which the result has, too."""
        self._warnings.append(text)
        self._progress.emit(Notice(text=text, level="warning"))

    def _warn_of(self, check: CheckWarning) -> None:
        self._checks.append(check)
        self._progress.emit(check)

    def define(self) -> Definition:
        """Read and evaluate the Dockerfile."""
        options = self._options
        files = inputs.main_context(options, self._contexts)
        dockerfiles = inputs.read_dockerfiles(options, files, self._contexts)
        file, linter = parse_checked(
            [(each.name, each.text) for each in dockerfiles],
            build_args=options.build_args,
            warn=self._warn_of,
        )
        rules = inputs.rules_of(options, files, dockerfiles[0].path, self.warn)
        self._contexts.put(LocalContext().name, files, rules)
        around = surroundings(options, self._store.network)
        arguments = inputs.arguments(options, rules, around, self._contexts.time)
        return define(file, arguments, self._images.resolve, self.warn, linter)

    def solve(self, definition: Definition, *, compress: bool) -> Solution:
        """Find or make the layers; they have no value of a secret."""
        solution = Solver(
            definition,
            store=self._store,
            cache=self._cache,
            images=self._images,
            contexts=self._contexts,
            secrets=self._secrets,
            steps=self._steps,
            compress=compress,
        ).solve()
        if self._options.ignored_paths:
            from ocitool.builder.commit.unchanged_paths import require_unchanged

            require_unchanged(self._store, definition, solution, self._options.ignored_paths)
        if self._options.secrets and self._options.secret_scan:
            from ocitool.builder.secret_scan.scan import scan

            config = image_config(definition, solution, "")
            annotations = self._options.annotations
            scan(self._store, definition, solution, config, annotations, self._secrets, self.warn)
        return solution

    def commit(self, definition: Definition, solution: Solution, *, compress: bool) -> Committed:
        """Store config and manifest of the image."""
        options = self._options
        return commit(
            self._store,
            definition,
            solution,
            shape=Shape(
                squash=options.squash, squash_base=options.squash_all, timestamp=options.timestamp
            ),
            cache=self._cache,
            fresh=options.no_cache or bool(definition.uncached),
            compress=compress,
            progress=self._progress,
        )

    def result(self, committed: Committed, solution: Solution) -> BuildResult:
        """Return what was built, before any output is written."""
        return BuildResult(
            descriptor=committed.manifest,
            image_id=committed.id,
            tags=(),
            steps=solution.steps,
            cached=solution.cached,
            warnings=(*self._warnings, *map(str, self._checks)),
            checks=tuple(self._checks),
        )
