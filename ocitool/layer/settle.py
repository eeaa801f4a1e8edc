"""Indexes whose paths lead through links (Debian's ``/var/run``), with the paths those lead to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ocitool.errors import LayerError
from ocitool.layer import entry as kinds
from ocitool.layer.entry import Entry, split
from ocitool.layer.index import LayerIndex, Placed
from ocitool.layer.links import follow
from ocitool.layer.tree import Found, ImageTree


def settled(indexes: Iterable[LayerIndex]) -> list[LayerIndex]:
    """Return *indexes*, lowest first, with every entry where unpacking would put it.

    Raises:
        UnsafePath: a link leads out of the tree.
        LayerError: there are too many of them.
    """
    done: list[LayerIndex] = []
    for index in indexes:
        places = _places(index, ImageTree(done))
        done.append(index.moved(places) if places else index)
    return done


def _places(index: LayerIndex, below: ImageTree) -> dict[str, str]:
    """Return where directories that *index* uses really are, as far as they are elsewhere."""

    def look(path: str) -> Entry | None:
        return _entry(index.get(path) or (None if hidden(path) else below.get(path)))

    def hidden(path: str) -> bool:
        while path and not index.hides(path):
            path = split(path)[0]
            if index.opaque(path):
                return True
        return path != ""

    places = {}
    for directory in index.through():
        try:
            place = _followed(directory, look)
        except LayerError:  # by a link of this layer, made after its member had gone elsewhere
            place = _followed(directory, lambda path: _entry(below.get(path)))
        if place != directory:
            places[directory] = place
    return places


def _followed(directory: str, look: Callable[[str], Entry | None]) -> str:
    return follow(directory, look, _target, lambda path, found: None, ())


def _entry(found: Placed | Found | None) -> Entry | None:
    return None if found is None else found.entry


def _target(entry: Entry) -> str:
    return entry.link if entry.kind == kinds.SYMLINK else ""
