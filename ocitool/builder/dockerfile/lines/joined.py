"""Several files that are read as one Dockerfile, as buildah reads those of several ``-f``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ocitool.builder.dockerfile.lines.split import Source


def joined(sources: Sequence[Source]) -> Source:
    """Return the lines of several files as those of one; each keeps its place.

    The directives are those of the first file.

    Raises:
        DockerfileError: they differ in their escape characters.
    """
    first, *others = sources
    for source in others:
        if source.escape != first.escape:
            line = source.directive_lines.get("escape", 1)
            raise source.error(
                line,
                line,
                f"the escape character differs from that of {first.name}",
                hint="Dockerfiles that are read as one have the same escape directive",
            )
    return replace(first, lines=tuple(line for source in sources for line in source.lines))
