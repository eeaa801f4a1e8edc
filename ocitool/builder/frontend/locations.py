"""Where in the Dockerfile a vertex comes from."""

from __future__ import annotations

from ocitool.builder.definition import Location
from ocitool.builder.dockerfile.lines.span import Span
from ocitool.builder.dockerfile.parser import Dockerfile


def location_of(file: Dockerfile, span: Span) -> Location:
    """Return the location of the lines *span* of *file*."""
    return Location(
        file=span.name,
        line=span.first,
        excerpt=span.lines,
    )
