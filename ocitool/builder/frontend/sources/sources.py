"""What COPY, ADD and RUN --mount take files from: contexts, stages and images."""

from __future__ import annotations

from collections.abc import Mapping

from ocitool.builder.definition import Copy, Graph, LocalContext, Location
from ocitool.builder.frontend.evaluate import StageState
from ocitool.builder.frontend.sources.images import Images
from ocitool.builder.frontend.stages import Stage
from ocitool.errors import UnknownStage


class Sources:
    """Finds the vertices of what stages take files from; *done* are the stages so far."""

    def __init__(self, graph: Graph, images: Images, done: Mapping[int, StageState]) -> None:
        self._graph = graph
        self._images = images
        self._done = done
        self._contexts = {LocalContext(): graph.add(LocalContext())}

    def context(self, context: LocalContext) -> int:
        """Return the vertex of a build context."""
        if context not in self._contexts:
            self._contexts[context] = self._graph.add(context)
        return self._contexts[context]

    def copied(self, stage: Stage, name: str | None, location: Location) -> tuple[int, str]:
        """Return the vertex that an instruction takes files from, and what messages call it.

        *name* is that of a stage, a context or an image; None is the build context.
        """
        if name is None:
            return self.context(LocalContext()), ""
        error = f'cannot copy from stage "{name}", it needs to be defined before current stage'
        return self._find(stage, name, location, f'{error} "{stage.name}"')

    def mounted(self, stage: Stage, name: str, target: str, location: Location) -> tuple[int, str]:
        """Return the vertex that is mounted to *target*, and what messages call it.

        *name* is as for `copied`, except that digits name an image; ``""`` is the context.
        """
        if not name:
            return self.context(LocalContext()), ""
        error = (
            f'cannot mount from stage "{name}" to "{target}", stage needs to be defined before'
            " current command"
        )
        return self._find(stage, name, location, error)

    def _find(self, stage: Stage, name: str, location: Location, error: str) -> tuple[int, str]:
        source = stage.sources.get(name, name)
        if isinstance(source, int):
            if source > stage.index:
                raise UnknownStage(error, hint=f"move the FROM of {stage.name} after that stage")
            return self._done[source].vertex, f"stage {name}"
        if isinstance(source, LocalContext):
            return self.context(source), ""
        return self._images.source(stage, source, location), source

    def base(self, context: LocalContext, state: StageState, location: Location, name: str) -> int:
        """Return the vertex of a file system that has the files of *context* and no others."""
        copied = Copy(
            base=self._images.scratch,
            platform=str(state.platform),
            source=self.context(context),
            paths=("/",),
            dest="/",
        )
        return self._graph.add(copied, location, name)
