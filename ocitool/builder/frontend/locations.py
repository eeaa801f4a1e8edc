"""Where in the Dockerfile a vertex comes from."""

from __future__ import annotations

from ocitool.builder.definition import Location
from ocitool.builder.dockerfile.lines.span import Span


def location_of(span: Span) -> Location:
    """Return the location of the lines *span*."""
    return Location(file=span.name, line=span.first, excerpt=span.lines)
