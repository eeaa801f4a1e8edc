"""The images and stages that a stage names: each image is resolved once, and has one vertex."""

from __future__ import annotations

from collections.abc import Iterable

from ocitool.builder.definition import (
    Graph,
    Location,
    ResolvedImage,
    Resolver,
    Scratch,
    SourceImage,
)
from ocitool.builder.dockerfile.parser import Dockerfile
from ocitool.builder.frontend.sources.named_contexts import SCRATCH
from ocitool.builder.frontend.stages import ARG_HINT, Stage
from ocitool.builder.frontend.step_names import location_of
from ocitool.errors import BadDigest, BadReference, FormatError, OcitoolError
from ocitool.go_values import quoted
from ocitool.oci.platform import Platform
from ocitool.oci.reference import Reference, is_image_id
from ocitool.suggestions import nearest


class Images:
    """Resolves the images of one Dockerfile, and adds them to its graph."""

    def __init__(
        self,
        file: Dockerfile,
        graph: Graph,
        resolver: Resolver,
        platform: Platform,
        contexts: Iterable[str] = (),
    ) -> None:
        self._file = file
        self._contexts = tuple(contexts)  # names of build contexts
        self._graph = graph
        self._resolver = resolver
        self._platform = platform  # of the image, and of stages whose FROM has none
        self._bases: dict[int, ResolvedImage] = {}  # by stage
        self._vertices: dict[str, int] = {}  # of images that are sources
        self.scratch = graph.add(Scratch())

    def platform_of(self, stage: Stage) -> Platform:
        """Return the platform of *stage*; one FROM scratch is for the image's, whatever it says."""
        if not stage.platform:
            return self._platform
        platform = Platform.parse(stage.platform)
        return self._platform if stage.base == SCRATCH else platform

    def base(self, stage: Stage, reference: str) -> ResolvedImage:
        """Resolve the image that *stage* is based on, once."""
        if stage.index not in self._bases:
            platform = self.platform_of(stage)
            with location_of(stage.parsed.from_.span).in_errors():
                try:
                    self._bases[stage.index] = self._resolve(stage, reference, platform)
                except (BadReference, BadDigest) as error:
                    raise self._invalid(reference, stage, error) from error
        return self._bases[stage.index]

    def source(self, stage: Stage, reference: str, location: Location) -> int:
        """Return the vertex of an image that *stage* takes files from.

        It is for the platform of the image that is built, also in a stage for another one.
        """
        if reference == SCRATCH:
            return self.scratch
        if reference not in self._vertices:
            platform = self._platform
            try:
                digest = self._resolve(stage, reference, platform).digest
            except OcitoolError as error:
                if _is_word(reference) and "did you mean" not in error.hint:
                    no_stage = f"no earlier stage is named {reference!r}"
                    error.hint = "; ".join(filter(None, (no_stage, error.hint)))
                raise
            vertex = SourceImage(reference=reference, platform=platform, digest=digest)
            self._vertices[reference] = self._graph.add(vertex, location)
        return self._vertices[reference]

    def _resolve(self, stage: Stage, reference: str, platform: Platform) -> ResolvedImage:
        """Resolve an image that *stage* names; the hint of an error says which stage was meant."""
        try:
            return self._resolver(reference, platform)
        except OcitoolError as error:
            earlier = (each.from_.name or "" for each in self._file.stages[: stage.index])
            if near := nearest(reference, (*earlier, *self._contexts)):
                meant = "build context" if near in self._contexts else "earlier stage"
                error.hint = f"did you mean {near}? No {meant} is named {reference!r}"
            raise

    def _invalid(self, reference: str, stage: Stage, error: FormatError) -> FormatError:
        """Return the error of a FROM that names no image: BuildKit's, and the reason as a hint."""
        message, reason, remedy = "invalid reference format", error.message, error.hint
        lower = reference.lower()
        if is_image_id(reference):
            message, reason = error.message, ""
        elif repository := _repository(reference):
            message, reason = f"{message}: repository name ({repository}) must be lowercase", ""
            if lower in (each.from_.name for each in self._file.stages[: stage.index]):
                remedy = f"the stage is named {lower}: FROM finds stages only in lower case"
        if reference != stage.parsed.from_.image:
            remedy = ARG_HINT
        return FormatError(
            f"failed to parse stage name {quoted(reference)}: {message}",
            hint="; ".join(filter(None, (reason, remedy))),
        )


def _is_word(reference: str) -> bool:
    """Say whether the name of an image may as well be that of a stage."""
    return not any(mark in reference for mark in "/:@.")


def _repository(reference: str) -> str:
    """Return the repository of a reference that would be valid in lower case, or ``""``."""
    first, slash, rest = reference.partition("/")
    lower = f"{first}/{rest.lower()}" if slash else first.lower()
    try:
        path = Reference.parse(lower).path
    except FormatError:
        return ""
    name = reference.partition("@")[0]
    at = name.lower().rfind(path.removeprefix("library/"))
    shown = name[at : at + len(path.removeprefix("library/"))]
    return f"library/{shown}" if path.startswith("library/") else shown
