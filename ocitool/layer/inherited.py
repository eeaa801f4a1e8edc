"""What a tree has beyond a layer's own entries: what the layers below gave, and nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ocitool.layer import entry as kinds
from ocitool.layer import owners
from ocitool.layer.diff import same_content
from ocitool.layer.entry import kind_of, shown, split
from ocitool.layer.lower import find
from ocitool.layer.whiteouts import is_whiteout


class Inherited:
    """The rest of the directory *tree*, of which *ours* (path -> kind) are the layer's entries.

    *below* and *whole* are as for `ocitool.layer.compare.compare`.
    """

    def __init__(
        self, tree: str, below: Sequence[str], ours: Mapping[str, str], *, whole: bool
    ) -> None:
        self._tree = tree
        self._below = below
        self._stack = (tree,) if whole else (tree, *below)
        self._whole = whole
        self._ours = ours
        self._implied = _above(ours)  # directories that the layer uses, with or without an entry

    def faults(self, gone: set[str], opaque: set[str]) -> Iterator[str]:
        """Yield what is wrong.  *gone* and *opaque* are what the layer's marks name."""
        # A mark that hides what is in a directory uses the directory.
        self._implied |= _above(opaque) | (opaque - {""})
        for path in sorted(gone):
            yield from self._shown(path)
        for directory in sorted(opaque):
            for path in self._names_below(directory):
                yield from self._shown(path)
        yield from self._strangers(self._tree, "", gone, opaque)
        if self._whole and self._below:
            yield from self._lost(self._below[0], "", gone, opaque)

    # -- what the layer removes -------------------------------------------------------------

    def _shown(self, path: str) -> Iterator[str]:
        """Yield what is seen of the layers below at *path*, where nothing should be."""
        if self._is_directory_of_ours(path):
            for child in self._names_below(path):
                yield from self._shown(child)
        elif path not in self._ours and find(self._below, path) and find(self._stack, path):
            yield f"{shown(path)}: is there although the layer removes it"

    def _is_directory_of_ours(self, path: str) -> bool:
        return path in self._implied or self._ours.get(path) == kinds.DIRECTORY

    def _names_below(self, directory: str) -> list[str]:
        found = set()
        for tree in self._below:
            place = f"{tree}/{directory}" if directory else tree
            if os.path.isdir(place):
                found |= set(os.listdir(place))
        return sorted(f"{directory}/{name}" if directory else name for name in found)

    # -- what the layer does not have -------------------------------------------------------

    def _strangers(self, place: str, path: str, gone: set[str], opaque: set[str]) -> Iterator[str]:
        with os.scandir(place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            child = f"{path}/{entry.name}" if path else entry.name
            state = owners.here().seen(entry.path, entry.stat(follow_symlinks=False))
            if child not in self._ours:
                fault = self._stranger(entry.path, child, state, gone, opaque)
                if fault:
                    yield f"{shown(child)}: {fault}"
                    continue
            if stat.S_ISDIR(state.st_mode):
                yield from self._strangers(entry.path, child, gone, opaque)

    def _stranger(
        self, place: str, path: str, state: os.stat_result, gone: set[str], opaque: set[str]
    ) -> str:
        """Return what is wrong with *path*, which is not an entry of the layer; ``""`` if nothing.

        It may be a directory that the layer uses, a whiteout, a copy of what is below, or, since
        no layer can hold them, a socket.
        """
        if not kind_of(state.st_mode):
            return ""
        if is_whiteout(state) and not self._whole:
            known = path in gone or ("" in opaque and "/" not in path)
            return "" if known else "hides what the layer does not remove"
        found = find(self._below, path)
        if path in self._implied and (found is None or not stat.S_ISDIR(found[1].st_mode)):
            return "" if stat.S_ISDIR(state.st_mode) else "is no directory"
        if found is None:
            return "is not in the layer"
        return "" if _same(place, state, *found) else "is not as in the layer below"

    def _lost(self, place: str, path: str, gone: set[str], opaque: set[str]) -> Iterator[str]:
        """Yield what the tree *place* below has and this one, which holds all of it, has not."""
        if path in opaque or path in gone:
            return
        with os.scandir(place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            child = f"{path}/{entry.name}" if path else entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            if self._is_directory_of_ours(child):
                if is_directory:
                    yield from self._lost(entry.path, child, gone, opaque)
            elif child not in self._ours and child not in gone:
                if not os.path.lexists(f"{self._tree}/{child}"):
                    yield f"{shown(child)}: is missing"
                elif is_directory:
                    yield from self._lost(entry.path, child, gone, opaque)


def _above(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        parent = split(path)[0]
        while parent and parent not in found:
            found.add(parent)
            parent = split(parent)[0]
    return found


def _same(place: str, state: os.stat_result, other: str, was: os.stat_result) -> bool:
    if (state.st_mode, state.st_uid, state.st_gid) != (was.st_mode, was.st_uid, was.st_gid):
        return False
    if stat.S_ISDIR(state.st_mode):
        return True
    if state.st_mtime_ns != was.st_mtime_ns or state.st_rdev != was.st_rdev:
        return False
    if stat.S_ISLNK(state.st_mode):
        return os.readlink(place) == os.readlink(other)
    if not stat.S_ISREG(state.st_mode) or os.path.samestat(state, was):
        return True
    return state.st_size == was.st_size and same_content(place, other)
