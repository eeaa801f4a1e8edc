"""The words of a COPY, each with what it names: ``--parents`` and ``--exclude`` included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from ocitool.builder.context.context import Item
from ocitool.builder.context.name_patterns import has_wildcard, segments_of
from ocitool.builder.context.parents_exclude import Selection
from ocitool.errors import BuildError

_PIVOT = "/./"


class Files(Protocol):
    """Where files are looked for."""

    def find(self, source: str, /) -> list[Item]:
        """Return what *source* names; a wildcard may name nothing."""

    def walk(self, item: Item, /) -> Iterator[Any]:
        """Yield what is in a directory."""


def find_items(files: Files, source: str, *, parents: bool, exclude: Sequence[str]) -> list[Item]:
    """Return what the COPY source *source* names in *files*.

    With *parents* that is the directory in front of the pivot ``/./``, by default the root, of
    which only what the rest of *source* names is taken.

    Raises:
        BuildError: a name without wildcards is missing.
        FormatError: a pattern is invalid.
    """
    selection = Selection(exclude=tuple(exclude))
    if not parents:
        return [item._replace(selection=selection) for item in files.find(source)]
    top, pivot, rest = source.partition(_PIVOT)
    if not pivot:
        top, rest = "", source
    segments = segments_of(rest)
    if not segments:
        raise BuildError(
            f'"{source}": not found',
            hint=(
                "with --parents a source needs a name, after /./ if it has one; to copy the "
                "content of a directory, remove --parents"
            ),
        )
    include = "/".join(segments)
    tops = files.find(top)
    if not any(map(has_wildcard, (top, include))):
        _require(files, tops, include, f"{top}/{include}")
    selection = Selection(exclude=selection.exclude, include=include)
    return [item._replace(selection=selection) for item in tops]


def _require(files: Files, tops: Sequence[Item], include: str, path: str) -> None:
    """Raise `BuildError` unless *include* is in one of *tops*; links are not followed there."""
    only = Selection(include=include)
    for top in tops:
        if top.is_directory and any(files.walk(top._replace(selection=only))):
            return
    files.find(path)  # says why it is missing
    raise BuildError(
        f'"/{path.strip("/")}": not found',
        hint="--parents does not follow symbolic links; name the directory that it leads to",
    )
