"""A tree of entries, in memory, as the target of layers: all of them go to the same tree."""

from __future__ import annotations

from typing import Final

from ocitool.layer import xattrs
from ocitool.layer.apply_changeset import Changeset
from ocitool.layer.entry import Entry, Kind, described, encode, split
from ocitool.layer.index.index import LayerIndex
from ocitool.layer.index.lines import IndexEntry, SortedLines, corrupt
from ocitool.layer.memory_tree import MemoryTree, TreeNode

_IMPLIED: Final = IndexEntry(Entry("", Kind.DIRECTORY, 0o755), 0)


class Node(TreeNode):
    """A file or directory: its entry, which has the path of its first name, and its content."""

    __slots__ = ("_base", "_children", "entry", "layer", "number", "placed")

    def __init__(
        self, entry: Entry, layer: int, number: int, placed: IndexEntry, base: _Base | None = None
    ) -> None:
        self.entry = entry
        self.layer = layer  # which one has the content, 0 the lowest
        self.number = number  # as that of an inode: the same for all names of a file
        self.placed = placed  # where the content is in the layer
        self._base = base  # what is in the directory before it is looked into
        self._children: dict[bytes, Node] | None = None

    @property
    def is_directory(self) -> bool:
        return self.entry.kind == Kind.DIRECTORY

    @property
    def children(self) -> dict[bytes, Node]:
        if self._children is None:
            self._children = {} if self._base is None else self._base.children()
        return self._children


class _Base:
    """What is in a directory by the lowest layer, which is a tree as it is."""

    def __init__(self, members: SortedLines, lines: range) -> None:
        self._members = members
        self._lines = lines

    def children(self) -> dict[bytes, Node]:
        """Return the nodes of what is in the directory, by name."""
        return {
            encode(split(placed.entry.path)[1]): self._node(placed, lines)
            for placed, lines in self._members.inside(self._lines)
        }

    def _node(self, placed: IndexEntry, lines: range) -> Node:
        if placed.entry.kind == Kind.HARDLINK:
            file = self._members.find(placed.entry.link)
            if file is None:
                raise corrupt("a hard link's target is missing")
            placed = file
        base = _Base(self._members, lines) if lines else None
        # No other number is negative, and no other member has the offset.
        return Node(_kept(placed.entry), 0, ~placed.offset, placed, base)


class EntryTarget(MemoryTree[Node]):
    """The tree that layers make; whatever a layer removes or hides is not there any more.

    The files of the lowest layer never change: a hard link of a layer above copies them up.
    """

    def __init__(self) -> None:
        super().__init__(Node(_IMPLIED.entry, 0, 0, _IMPLIED))
        self._layer = 0
        self._number = 0
        self._placed = _IMPLIED

    def apply(self, layer: int, index: LayerIndex) -> None:
        """Apply the layer of number *layer*; `LayerError` if it cannot be unpacked."""
        if layer == 0 and index.is_tree:
            members = SortedLines(index.lines)
            root, lines = members.top()
            entry = self.root.entry if root is None else _kept(root.entry)
            self.root = self._directories[""] = Node(entry, 0, 0, _IMPLIED, _Base(members, lines))
            return
        changes = Changeset(self)
        self._layer = layer
        for placed in index.entries():
            self._placed = placed
            changes.add(placed.entry)

    def new_directory(self, path: str) -> Node:
        return self._new(_IMPLIED.entry, self._layer, _IMPLIED)

    def kind(self, path: str) -> str:
        node = self.node(path)
        return "" if node is None else node.entry.kind

    def find(self, path: str) -> Entry | None:
        node = self.node(path)
        return None if node is None else node.entry

    def covers(self, path: str) -> bool:
        return False

    def create(self, directory: str, name: str, entry: Entry) -> bool:
        children, key = self._children(directory), encode(name)
        if key in children:
            raise FileExistsError(entry.path)
        children[key] = self._new(_kept(entry), self._layer, self._placed)
        return True

    def set_attributes(self, path: str, entry: Entry | None, *, new: bool) -> None:
        if entry is None:
            entry = Entry(path, Kind.DIRECTORY, 0o755)
        self._directories[path].entry = _kept(entry)

    def copy_up(self, path: str) -> bool:
        node = self.node(path)
        if node is None:
            return False
        children, name = self._place(path)
        children[name] = self._new(node.entry._replace(path=path), node.layer, node.placed)
        return True

    def describe(self, path: str, link: Entry) -> None:
        node = self._known(path)
        node.entry = described(node.entry, _kept(link, node.entry.kind))

    def whiteout(self, path: str) -> None:
        return None

    def make_opaque(self, path: str) -> None:
        return None

    def _new(self, entry: Entry, layer: int, placed: IndexEntry) -> Node:
        self._number += 1
        return Node(entry, layer, self._number, placed)


def _kept(entry: Entry, kind: str = "") -> Entry:
    """Return *entry* as it is unpacked; *kind* is that of the file, by default its own."""
    if not entry.xattrs:
        return entry
    return entry._replace(xattrs=xattrs.kept(entry.xattrs, kind or entry.kind))
