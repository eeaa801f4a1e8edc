"""Indexes whose paths lead through links (Debian's ``/var/run``), with the paths those lead to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ocitool.errors import LayerError
from ocitool.layer.entry import Kind, split
from ocitool.layer.index.index import LayerIndex
from ocitool.layer.index.merged import Found, ImageTree
from ocitool.layer.symlinks import resolve


def settled(indexes: Iterable[LayerIndex]) -> list[LayerIndex]:
    """Return *indexes*, lowest first, with every entry where unpacking would put it.

    An index does not say in which order its layer had what: where a layer has one place by two
    names, or replaces a link that it has put something through, the last in the index's order
    counts, and links lead where they do in the end.

    Raises:
        UnsafePath: a link leads out of the tree.
        LayerError: there are too many of them.
    """
    done: list[LayerIndex] = []
    for index in indexes:
        places = _Places(index, done).found()
        done.append(index.moved(places) if places else index)
    return done


class _Places:
    """Where the directories of *index* are that lead through links; *below* are settled."""

    def __init__(self, index: LayerIndex, below: Sequence[LayerIndex]) -> None:
        self._index = index
        self._layer = len(below)
        self._below = ImageTree(below)
        self._whole = ImageTree([*below, index])

    def found(self) -> dict[str, str]:
        """Return the places of those that are elsewhere."""
        places: dict[str, str] = {}
        for directory in self._index.through():
            parent, name = split(directory)
            place = f"{places.get(parent, parent)}/{name}".lstrip("/")
            if self._index.get(directory) is None or not self._index.is_directory(directory):
                place = self._followed(directory)
            if place != directory:
                places[directory] = place
        return places

    def _followed(self, directory: str) -> str:
        try:
            return resolve(directory, lambda path: self._target(self._look(path)), strict=True)
        except LayerError:  # by a link of this layer, made after its member had gone elsewhere
            below = self._below
            return resolve(directory, lambda path: self._target(below.get(path)), strict=True)

    def _look(self, path: str) -> Found | None:
        placed = self._index.get(path)
        if placed is not None:
            return Found(placed.entry, self._layer, placed.offset, placed.sparse)
        return None if self._hides(path) else self._below.get(path)

    def _hides(self, path: str) -> bool:
        while path and not self._index.hides(path):
            path = split(path)[0]
            if self._index.opaque(path):
                return True
        return path != ""

    def _target(self, found: Found | None) -> str:
        if found is None:
            return ""
        found = self._whole.original(found)
        return found.entry.link if found.entry.kind == Kind.SYMLINK else ""
