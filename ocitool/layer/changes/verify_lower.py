"""Comparing with the layers below what a layer's tree has from them, or hides of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from ocitool.layer import ownership
from ocitool.layer.changes.before import same_content
from ocitool.layer.entry import Kind, kind_of, shown, split
from ocitool.layer.unpack.lower_layers import find
from ocitool.layer.unpack.whiteouts import is_whiteout


class Inherited:
    """The rest of the directory *tree*, of which *ours* (path -> kind) are the layer's entries.

    *removed* are the paths of its whiteouts, *opaque* its opaque directories; *below* and *whole*
    are as for `ocitool.layer.changes.verify.compare`.
    """

    def __init__(
        self,
        tree: str,
        below: Sequence[str],
        ours: Mapping[str, str],
        removed: Set[str],
        opaque: Set[str],
        *,
        whole: bool,
    ) -> None:
        self._tree = tree
        self._below = below
        self._stack = (tree,) if whole else (tree, *below)
        self._whole = whole
        self._ours = ours
        self._removed = removed
        self._opaque = opaque
        # Directories that the layer uses, with or without an entry.
        self._implied = _above((*ours, *opaque)) | (opaque - {""})

    def faults(self) -> Iterator[str]:
        """Yield what is wrong."""
        for path in sorted(self._removed):
            yield from self._shown(path)
        for directory in sorted(self._opaque):
            for path in self._names_below(directory):
                yield from self._shown(path)
        yield from self._unexpected_in(self._tree, "")
        if self._whole and self._below:
            yield from self._lost(self._below[0], "")

    # -- what the layer removes -------------------------------------------------------------

    def _shown(self, path: str) -> Iterator[str]:
        """Yield what the layers below still show at *path*, where nothing should be."""
        if self._is_directory_of_ours(path):
            for child in self._names_below(path):
                yield from self._shown(child)
        elif path not in self._ours and find(self._below, path) and find(self._stack, path):
            yield f"{shown(path)}: is there although the layer removes it"

    def _is_directory_of_ours(self, path: str) -> bool:
        return path in self._implied or self._ours.get(path) == Kind.DIRECTORY

    def _names_below(self, directory: str) -> list[str]:
        found = set()
        for tree in self._below:
            host_path = f"{tree}/{directory}" if directory else tree
            if os.path.isdir(host_path):
                found |= set(os.listdir(host_path))
        return sorted(f"{directory}/{name}" if directory else name for name in found)

    # -- what the layer does not have -------------------------------------------------------

    def _unexpected_in(self, host_path: str, path: str) -> Iterator[str]:
        with os.scandir(host_path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            child = f"{path}/{entry.name}" if path else entry.name
            state = ownership.current().effective(entry.path, entry.stat(follow_symlinks=False))
            if child not in self._ours:
                fault = self._unexpected(entry.path, child, state)
                if fault:
                    yield f"{shown(child)}: {fault}"
                    continue
            if stat.S_ISDIR(state.st_mode):
                yield from self._unexpected_in(entry.path, child)

    def _unexpected(self, host_path: str, path: str, state: os.stat_result) -> str:
        """Return what is wrong with *path*, which is not an entry of the layer; ``""`` if nothing.

        It may be a directory that the layer uses, a whiteout, a copy of what is below, or, since
        no layer can hold them, a socket.
        """
        if not kind_of(state.st_mode):
            return ""
        if is_whiteout(state) and not self._whole:
            known = path in self._removed or ("" in self._opaque and "/" not in path)
            return "" if known else "hides what the layer does not remove"
        found = find(self._below, path)
        if path in self._implied:
            is_below = found is not None and stat.S_ISDIR(found[1].st_mode)
            if not is_below or self._hides(path):
                return "" if stat.S_ISDIR(state.st_mode) else "is no directory"
        if found is None:
            return "is not in the layer"
        return "" if _same(host_path, state, *found) else "is not as in the layer below"

    def _hides(self, path: str) -> bool:
        """Say whether the layer removes what the layers below have at *path*."""
        while path:
            if path in self._removed:
                return True
            path = split(path)[0]
            if path in self._opaque:
                return True
        return False

    def _lost(self, host_path: str, path: str) -> Iterator[str]:
        """Yield what is in the directory *host_path* below and not in this tree, which is whole."""
        if path in self._opaque or path in self._removed:
            return
        with os.scandir(host_path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            child = f"{path}/{entry.name}" if path else entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            if self._is_directory_of_ours(child):
                if is_directory:
                    yield from self._lost(entry.path, child)
            elif child not in self._ours and child not in self._removed:
                if not os.path.lexists(f"{self._tree}/{child}"):
                    yield f"{shown(child)}: is missing"
                elif is_directory:
                    yield from self._lost(entry.path, child)


def _above(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        parent = split(path)[0]
        while parent and parent not in found:
            found.add(parent)
            parent = split(parent)[0]
    return found


def _same(host_path: str, state: os.stat_result, other: str, was: os.stat_result) -> bool:
    if (state.st_mode, state.st_uid, state.st_gid) != (was.st_mode, was.st_uid, was.st_gid):
        return False
    if stat.S_ISDIR(state.st_mode):
        return True
    if state.st_mtime_ns != was.st_mtime_ns or state.st_rdev != was.st_rdev:
        return False
    if stat.S_ISLNK(state.st_mode):
        return os.readlink(host_path) == os.readlink(other)
    if not stat.S_ISREG(state.st_mode) or os.path.samestat(state, was):
        return True
    return state.st_size == was.st_size and same_content(host_path, other)
