"""The tree that a step began with, looked at by path, as the step saw it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Protocol

from ocitool.layer import ownership
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import Entry, split
from ocitool.layer.unpack.lower_layers import entry_of, merged_directories
from ocitool.layer.unpack.whiteouts import is_whiteout


class Before(Protocol):
    """A tree whose paths hold no links; ``""`` is its root."""

    def look(self, path: str) -> Entry | None:
        """Return what is at *path*, without content; None if there is nothing."""

    def names(self, directory: str) -> Iterable[str]:
        """Return the names in *directory*, which is one."""

    def links(self, path: str) -> int:
        """Return how many names the file *path* had in the tree that the step wrote to."""

    def same_content(self, path: str, host_path: str) -> bool:
        """Say whether the file *path* and the file *host_path*, equally long, hold the same."""


class Copied:
    """The directory tree *tree* of which the step got a copy; ``""`` is an empty one."""

    def __init__(self, tree: str) -> None:
        self._tree = tree

    def look(self, path: str) -> Entry | None:
        """See `Before.look`."""
        host_path = f"{self._tree}/{path}"
        try:
            state = os.lstat(host_path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return entry_of(path, host_path, ownership.current().effective(host_path, state))

    def names(self, directory: str) -> Iterable[str]:
        """See `Before.names`."""
        return os.listdir(f"{self._tree}/{directory}")

    def links(self, path: str) -> int:
        """See `Before.links`."""
        return os.lstat(f"{self._tree}/{path}").st_nlink

    def same_content(self, path: str, host_path: str) -> bool:
        """See `Before.same_content`."""
        return same_content(f"{self._tree}/{path}", host_path)


class Stacked:
    """The directory trees *trees*, the topmost first, on which overlayfs stacked the step's."""

    def __init__(self, trees: Sequence[str]) -> None:
        self._directories = {"": tuple(trees)}  # by path: what is merged there

    def look(self, path: str) -> Entry | None:
        """See `Before.look`."""
        found = self._find(path)
        return None if found is None else entry_of(path, *found)

    def names(self, directory: str) -> Iterable[str]:
        """See `Before.names`."""
        found = {name for folder in self._merged(directory) for name in os.listdir(folder)}
        prefix = f"{directory}/" if directory else ""
        return [name for name in found if self._find(prefix + name) is not None]

    def links(self, path: str) -> int:
        """See `Before.links`; overlayfs copies one name of a file."""
        return 1

    def same_content(self, path: str, host_path: str) -> bool:
        """See `Before.same_content`."""
        found = self._find(path)
        return found is not None and same_content(found[0], host_path)

    def _find(self, path: str) -> tuple[str, os.stat_result] | None:
        parent, name = split(path)
        for folder in self._merged(parent):
            host_path = f"{folder}/{name}"
            try:
                state = os.lstat(host_path)
            except FileNotFoundError:
                continue
            if is_whiteout(state):
                return None
            return host_path, ownership.current().effective(host_path, state)
        return None

    def _merged(self, directory: str) -> tuple[str, ...]:
        """Return the directories that overlayfs merges at *directory*, the topmost first."""
        known = self._directories.get(directory)
        if known is None:
            parent, name = split(directory)
            host_paths = (f"{folder}/{name}" for folder in self._merged(parent))
            known = self._directories[directory] = tuple(merged_directories(host_paths))
        return known


def same_content(one: str, other: str, offset: int = 0) -> bool:
    """Say whether the file *one* has, from *offset*, the bytes of the whole file *other*."""
    with open(one, "rb", buffering=0) as a, open(other, "rb", buffering=0) as b:
        a.seek(offset)
        while wanted := b.read(CHUNK):
            if a.read(len(wanted)) != wanted:
                return False
    return True
