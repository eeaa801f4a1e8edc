"""Indexes whose paths lead through links (Debian's ``/var/run``), with the paths those lead to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ocitool.errors import LayerError
from ocitool.layer.entry import Kind, split
from ocitool.layer.index.index import LayerIndex
from ocitool.layer.index.merged import Found, ImageTree
from ocitool.layer.symlinks import resolve


def resolve_links(indexes: Iterable[LayerIndex]) -> list[LayerIndex]:
    """Return *indexes*, lowest first, with every entry at the path where unpacking puts it.

    Links of the layer itself were followed as its index was made, where that is enough to say
    where they lead.  For all others the order of the members is not known: where a layer has one
    path by two names, the last in the index's order counts, and links lead where they do in the
    end.

    Raises:
        LayerError: there are too many of them.
    """
    done: list[LayerIndex] = []
    for index in indexes:
        moved = _LinkedDirectories(index, done).moved()
        done.append(index.moved(moved) if moved else index)
    return done


class _LinkedDirectories:
    """The directories of *index* that lead through links, on *below*, which are resolved."""

    def __init__(self, index: LayerIndex, below: Sequence[LayerIndex]) -> None:
        self._index = index
        self._layer = len(below)
        self._below = ImageTree(below)
        self._whole = ImageTree([*below, index])

    def moved(self) -> dict[str, str]:
        """Return the directories that links lead elsewhere, with the paths they lead to."""
        moved: dict[str, str] = {}
        for directory in self._index.through():
            parent, name = split(directory)
            target = f"{moved.get(parent, parent)}/{name}".lstrip("/")
            if self._index.get(directory) is None or not self._index.is_directory(directory):
                target = self._followed(directory)
            if target != directory:
                moved[directory] = target
        return moved

    def _followed(self, directory: str) -> str:
        try:
            return resolve(directory, lambda path: self._target(self._look(path)))
        except LayerError:  # by a link of this layer, made after its member had gone elsewhere
            below = self._below
            return resolve(directory, lambda path: self._target(below.get(path)))

    def _look(self, path: str) -> Found | None:
        own = self._index.get(path)
        if own is not None:
            return Found(own.entry, self._layer, own.offset, own.sparse)
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
