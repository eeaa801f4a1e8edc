"""What unpacking a layer makes, in memory: what its tree on disk is compared with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ocitool.layer.entry import Entry, Kind, decode, described, encode
from ocitool.layer.memory_tree import MemoryTree, TreeNode
from ocitool.layer.unpack.lower_layers import look


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of a file, compared with that of a file on disk when it was read."""

    inode: tuple[int, int]  # device and inode of that file
    is_same: bool


class Node(TreeNode):
    """A file or directory, or a whiteout, which has no entry."""

    __slots__ = ("_children", "content", "entry", "is_copied", "is_opaque")

    def __init__(self, entry: Entry | None) -> None:
        self.entry = entry
        self.content: Content | None = None
        self.is_copied = False  # from the layers below, for a hard link
        self.is_opaque = False
        self._children: dict[bytes, Node] = {}

    @property
    def children(self) -> dict[bytes, Node]:
        return self._children

    @property
    def is_directory(self) -> bool:
        return self.entry is not None and self.entry.kind == Kind.DIRECTORY


class Expected(MemoryTree[Node]):
    """The tree of a layer that lies on the trees *below*, the topmost first.

    *compare* compares the content of a file, while it is read, with what is at its path.
    """

    def __init__(self, below: Sequence[str], compare: Callable[[Entry], Content | None]) -> None:
        super().__init__(Node(Entry("", Kind.DIRECTORY)))
        self._below = below
        self._compare = compare
        self.describes_root = False

    def walk(self, directory: str = "") -> Iterator[tuple[str, Node]]:
        """Yield everything below *directory*, whiteouts included."""
        children = self._children(directory)
        for name in sorted(children):
            path = f"{directory}/{decode(name)}".lstrip("/")
            yield path, children[name]
            if children[name].is_directory:
                yield from self.walk(path)

    def new_directory(self, path: str) -> Node:
        return Node(Entry(path, Kind.DIRECTORY))

    def kind(self, path: str) -> str:
        node = self.node(path)
        if node is None:
            return ""
        return Kind.WHITEOUT if node.entry is None else node.entry.kind

    def find(self, path: str) -> Entry | None:
        node, hidden = self.root, False
        for part in encode(path).split(b"/"):
            hidden = hidden or node.is_opaque
            child = node.children.get(part)
            if child is None:
                return None if hidden or not node.is_directory else look(self._below, path)
            node = child
        return node.entry

    def covers(self, path: str) -> bool:
        node = self.root
        for part in encode(path).split(b"/")[:-1]:
            node = node.children[part]
            if node.is_opaque:
                return False
        return look(self._below, path) is not None

    def root_names(self) -> Iterable[str]:
        return [*super().root_names(), *(name for tree in self._below for name in os.listdir(tree))]

    def create(self, directory: str, name: str, entry: Entry) -> bool:
        children, key = self._children(directory), encode(name)
        if key in children:
            raise FileExistsError(entry.path)
        children[key] = node = Node(entry)
        if entry.kind == Kind.FILE:
            node.content = self._compare(entry)
        return True

    def set_attributes(self, path: str, entry: Entry | None, *, new: bool) -> None:
        if entry is None:
            entry = Entry(path, Kind.DIRECTORY, 0o755, os.geteuid(), os.getegid())
        self._directories[path].entry = entry
        self.describes_root = self.describes_root or not path

    def copy_up(self, path: str) -> bool:
        entry = look(self._below, path)
        if entry is None or entry.kind in ("", Kind.DIRECTORY):
            return False
        children, name = self._place(path)
        children[name] = node = Node(entry)
        node.is_copied = True
        return True

    def describe(self, path: str, link: Entry) -> None:
        node = self._known(path)
        assert node.entry is not None, "a whiteout has no names"
        node.entry = described(node.entry, link)

    def whiteout(self, path: str) -> None:
        children, name = self._place(path)
        children[name] = Node(None)

    def make_opaque(self, path: str) -> None:
        self._directories[path].is_opaque = True
