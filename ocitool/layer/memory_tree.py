"""A tree in memory as the target of a layer: what is the same whatever its nodes hold."""

from __future__ import annotations

import contextlib
import gc
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Generic, Self, TypeVar

from ocitool.layer.entry import decode, encode, split


class TreeNode(ABC):
    """A file or a directory.  With several names it is in the tree several times, as one object."""

    __slots__ = ()

    @property
    @abstractmethod
    def children(self) -> dict[bytes, Self]:
        """What is in the directory, by name."""

    @property
    @abstractmethod
    def is_directory(self) -> bool:
        """Say whether it is a directory."""


N = TypeVar("N", bound=TreeNode)


class MemoryTree(ABC, Generic[N]):
    """The part of a target (`ocitool.layer.apply_changeset.Target`) that changes names only."""

    def __init__(self, root: N) -> None:
        self.root = root
        self.notes: dict[str, int] = {}
        self._directories: dict[str, N] = {"": root}  # those that were looked into

    @abstractmethod
    def new_directory(self, path: str) -> N:
        """Return the node of the directory *path*, its attributes to be set."""

    def directory(self, path: str) -> N | None:
        """Return the directory *path*; None if it is missing, or something else."""
        unknown = []
        while (node := self._directories.get(path)) is None:
            unknown.append(path)
            path = split(path)[0]
        for path in reversed(unknown):
            child = node.children.get(encode(split(path)[1]))
            if child is None or not child.is_directory:
                return None
            self._directories[path] = node = child
        return node

    def node(self, path: str) -> N | None:
        """Return what is at *path*; None if there is nothing, or its directory is missing."""
        parent, name = split(path)
        directory = self.directory(parent)
        return None if directory is None else directory.children.get(encode(name))

    def enter(self, path: str) -> bool:
        return path in self._directories or self.directory(path) is not None

    def names(self, path: str) -> Iterable[tuple[str, bool]]:
        children = self._children(path)
        return [(decode(name), node.is_directory) for name, node in children.items()]

    def root_names(self) -> Iterable[str]:
        return map(decode, self.root.children)

    def make_directory(self, path: str) -> None:
        children, name = self._place(path)
        if name in children:
            raise FileExistsError(path)
        children[name] = self._directories[path] = self.new_directory(path)

    def link(self, source: str, path: str) -> None:
        children, name = self._place(path)
        if name in children:
            raise FileExistsError(path)
        children[name] = self._known(source)

    def remove(self, path: str) -> None:
        children, name = self._place(path)
        node = children.pop(name, None)
        if node is not None and node.is_directory:
            self._forget(path)

    def _known(self, path: str) -> N:
        children, name = self._place(path)
        return children[name]

    def _children(self, path: str) -> dict[bytes, N]:
        directory = self.directory(path)
        assert directory is not None, f"{path} was entered"
        return directory.children

    def _place(self, path: str) -> tuple[dict[bytes, N], bytes]:
        directory, name = split(path)
        return self._children(directory), encode(name)

    def _forget(self, path: str) -> None:
        node = self._directories.pop(path, None)
        if node is None:
            return  # nor was anything in it looked into
        for name, child in node.children.items():
            if child.is_directory:
                self._forget(f"{path}/{decode(name)}")


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """Keep the garbage collector from looking through a tree again and again while it grows."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
