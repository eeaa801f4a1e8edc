"""Walking a definition: each step is taken from the cache, or executed, once among all processes.

What executes steps is imported when the cache misses: a build that is cached whole needs none of
it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocitool.builder.context.context import Context
from ocitool.builder.definition import (
    Copy,
    Definition,
    GitTree,
    HttpFile,
    LocalContext,
    Run,
    Scratch,
    SourceImage,
    Step,
    Workdir,
)
from ocitool.builder.secrets.secrets import Secrets
from ocitool.builder.shown_steps import ShownStep, ShownSteps
from ocitool.builder.solver.cache import Cache, NoCache, step_record
from ocitool.builder.solver.copy_digests import CopySource
from ocitool.builder.solver.images import SourceImages
from ocitool.builder.solver.inputs import Inputs
from ocitool.builder.solver.keys import step_key
from ocitool.oci.timestamps import timestamp
from ocitool.progress import Notice
from ocitool.store.database.build_cache import StepRecord
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store
from ocitool_runtime.isolation import get_isolation

if TYPE_CHECKING:
    from ocitool.builder.git.tree import RemoteTree, Repositories
    from ocitool.builder.solver.http_file import RemoteFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What a definition came to."""

    layers: tuple[Layer, ...]  # of the image, lowest first
    records: Mapping[int, StepRecord]  # of the steps, by vertex
    steps: int  # that were shown
    cached: int  # of these


class Solver:
    """Solves one definition, vertex by vertex, in the order in which they stand."""

    def __init__(
        self,
        definition: Definition,
        *,
        store: Store,
        cache: Cache,
        images: SourceImages,
        contexts: Mapping[str, Context],
        secrets: Secrets,
        steps: ShownSteps,
        compress: bool = True,
    ) -> None:
        self._definition = definition
        self._store = store
        self._cache = cache
        self._empty_cache = NoCache(cache)  # for vertices that are executed again
        self._images = images
        self._contexts = contexts
        self._secrets = secrets
        self._shown_steps = steps
        self._progress = steps.progress
        self._isolation = get_isolation(store.settings.isolation)
        self._exported = _exported(definition) if compress else frozenset()
        self._layers: dict[int, tuple[Layer, ...]] = {}  # of file systems, by vertex
        self._repositories: Repositories | None = None
        self._remotes: dict[int, RemoteFile | RemoteTree] = {}  # by vertex
        self._records: dict[int, StepRecord] = {}
        self._steps = 0
        self._cached = 0

    def solve(self) -> Solution:
        """Solve every vertex; errors have the location of the vertex they come from.

        Raises:
            StepFailed: a command ended with another exit code than 0; nothing of it is kept.
            OcitoolError: what the store, a registry, the build context or the sandbox raises.
        """
        try:
            for number in range(len(self._definition.vertices)):
                with self._located(number):
                    self._solve(number)
        finally:
            for remote in self._remotes.values():
                remote.close()
        return Solution(
            layers=self._layers[self._definition.result],
            records=self._records,
            steps=self._steps,
            cached=self._cached,
        )

    def _solve(self, number: int) -> None:
        vertex = self._definition.vertices[number]
        if isinstance(vertex, Scratch):
            self._layers[number] = ()
        elif isinstance(vertex, SourceImage):
            self._layers[number] = self._fetch(number, vertex)
        elif isinstance(vertex, HttpFile):
            from ocitool.builder.solver.http_file import RemoteFile

            self._remotes[number] = RemoteFile(vertex, self._store, self._secrets, self._progress)
        elif isinstance(vertex, GitTree):
            self._remotes[number] = self._git().tree(vertex)
        elif not isinstance(vertex, LocalContext):
            self._layers[number] = self._step(number, vertex)

    def _git(self) -> Repositories:
        from ocitool.builder.git.tree import Repositories

        if self._repositories is None:
            self._repositories = Repositories(self._store, self._secrets)
        return self._repositories

    def _located(self, number: int) -> AbstractContextManager[None]:
        location = self._definition.locations.get(number)
        return contextlib.nullcontext() if location is None else location.in_errors()

    def _fetch(self, number: int, vertex: SourceImage) -> tuple[Layer, ...]:
        if number not in self._definition.names:
            return self._images.fetch(vertex)[0]
        with self._shown(number) as step:
            layers, step.cached = self._images.fetch(vertex)
        return layers

    def _step(self, number: int, vertex: Step) -> tuple[Layer, ...]:
        cache = self._empty_cache if number in self._definition.uncached else self._cache
        with self._shown(number) as step:
            inputs = self._inputs(vertex)  # what is not there, or cannot be fetched, fails the step
            if isinstance(vertex, Copy):
                self._warn_of_one_name(number, vertex.dest, inputs)
                self._warn_of_exclude(number, vertex, inputs)
                self._warn_of_nothing(number, inputs)
            mounted = [None if each is None else each.content for each in inputs.mounted]
            key = step_key(vertex, inputs.parents, self._definition.epoch, inputs.contents, mounted)
            record = cache.get(key)
            step.cached = record is not None
            if record is None:
                # Another process may be executing the same step: then its result is taken.
                with self._store.layout.work_lock("step", key):
                    record = cache.get(key)
                    step.cached = record is not None
                    if record is None:
                        record = self._execute(number, step.number, vertex, inputs)
                        cache.put(key, record)
        self._records[number] = record
        return (*self._layers[vertex.base], record.layer)

    @contextlib.contextmanager
    def _shown(self, number: int) -> Iterator[ShownStep]:
        """Show the step of a vertex, and count it."""
        self._steps += 1
        with self._shown_steps.show(self._definition.names[number]) as step:
            yield step
        self._cached += step.cached

    def _execute(self, number: int, step: int, vertex: Step, inputs: Inputs) -> StepRecord:
        from ocitool.builder.solver.execute import execute
        from ocitool.builder.solver.step_context import StepContext

        context = StepContext(
            store=self._store,
            progress=self._progress,
            number=step,
            epoch=self._definition.epoch,
            # A layer that no image gets is stored as it is: compressing it would be wasted.
            compression="gzip" if number in self._exported else "none",
            isolation=self._isolation,
            secrets=self._secrets,
        )
        layer = execute(context, vertex, inputs)
        return step_record(layer, timestamp(self._definition.epoch), inputs.parents)

    def _inputs(self, vertex: Step) -> Inputs:
        parents = self._layers[vertex.base]
        if isinstance(vertex, Run) and vertex.mounts:
            from ocitool.builder.solver.mounts.sources import mount_sources

            mounted = mount_sources(vertex.mounts, self._store, self._origin)
            return Inputs(parents=parents, mounted=mounted)
        if not isinstance(vertex, Copy):
            return Inputs(parents=parents)
        context, layers = self._origin(vertex.source)
        source = CopySource(
            step=vertex,
            store=self._store,
            context=context,
            layers=layers,
            remotes={url: self._remotes[remote] for url, remote in vertex.remotes},
        )
        # A linked COPY is one onto nothing: its layer is as good on any base, and its key says so.
        under = () if vertex.link else parents
        return Inputs(parents=under, source=source, contents=source.contents())

    def _origin(self, number: int) -> tuple[Context | None, tuple[Layer, ...]]:
        """Return what the vertex *number* came to: a build context, or the layers of a tree."""
        origin = self._definition.vertices[number]
        context = self._contexts[origin.name] if isinstance(origin, LocalContext) else None
        return context, self._layers.get(number, ())

    def _warn_of_one_name(self, number: int, dest: str, inputs: Inputs) -> None:
        """Warn of a COPY that may write several files to one name, as BuildKit lets it."""
        files = [content for content in inputs.contents if content.name]
        if len(files) > 1 and not dest.endswith("/"):
            text = (
                f"{self._definition.locations[number]}: {len(files)} sources and a destination "
                f"without a slash at its end: unless {dest} is a directory, each file replaces "
                "the previous one"
            )
            self._progress.emit(Notice(text=text, level="warning"))

    def _warn_of_nothing(self, number: int, inputs: Inputs) -> None:
        """Warn of a COPY whose wildcards all name nothing, which BuildKit lets pass in silence."""
        if not inputs.contents:
            text = (
                f"{self._definition.locations[number]}: nothing is copied: no file has a name that"
                " the wildcards match"
            )
            self._progress.emit(Notice(text=text, level="warning"))

    def _warn_of_exclude(self, number: int, step: Copy, inputs: Inputs) -> None:
        """Warn where nothing could be excluded: what names a file, or an archive, takes it."""
        if step.exclude and inputs.contents and all(each.name for each in inputs.contents):
            text = (
                f"{self._definition.locations[number]}: --exclude has no effect: no source is "
                "a directory"
            )
            self._progress.emit(Notice(text=text, level="warning"))


def _exported(definition: Definition) -> frozenset[int]:
    """Return the vertices whose layers the image has."""
    found = set()
    number: int | None = definition.result
    while number is not None:
        found.add(number)
        vertex = definition.vertices[number]
        number = vertex.base if isinstance(vertex, Run | Copy | Workdir) else None
    return frozenset(found)
