"""The tree that layers make together, from their indexes: nothing is unpacked or mounted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ocitool.layer.entry import Entry, Kind, decode
from ocitool.layer.index.index import LayerIndex
from ocitool.layer.index.target import EntryTarget, Node
from ocitool.layer.memory_tree import without_collecting
from ocitool.layer.symlinks import resolve
from ocitool.layer.tar.sparse import Spans


class Found(NamedTuple):
    """What a path is, and where its content is: the number of the layer (0 the lowest), the offset.

    ``sparse`` is as of a `TarReader`: None unless only these runs of data are there.  The ``file``
    is the same number for all names of one file.
    """

    entry: Entry
    layer: int
    offset: int
    sparse: Spans | None
    file: int

    @property
    def packed(self) -> int:
        """How many bytes of content the tar holds."""
        if self.sparse is None:
            return self.entry.size
        return sum(length for _, length in self.sparse)


class ImageTree:
    """Looks paths up in a stack of layers; *indexes* come lowest first.

    It is the tree that unpacking the layers makes.  Directories that no layer has an entry for, but
    that one uses, are 0755 and root's.

    Raises:
        LayerError: a layer cannot be unpacked.
    """

    def __init__(self, indexes: Iterable[LayerIndex]) -> None:
        target = EntryTarget()
        with without_collecting():
            for layer, index in enumerate(indexes):
                target.apply(layer, index)
        self._target = target

    def get(self, path: str) -> Found | None:
        """Return what *path* is, no link followed; None if there is nothing."""
        node = self._target.node(path) if path else self._target.root
        return None if node is None else _found(path, node)

    def names(self, directory: str) -> list[str]:
        """Return the names in *directory*, sorted bytewise."""
        node = self._target.directory(directory)
        return [] if node is None else [decode(name) for name in sorted(node.children)]

    def walk(self, directory: str) -> Iterator[Found]:
        """Yield everything below *directory*, in the layer's order."""
        node = self._target.directory(directory)
        if node is not None:
            yield from _walk(f"{directory}/" if directory else "", node)

    def resolve(self, path: str, *, last: bool = True) -> str:
        """Return *path* with its links followed inside this tree; its end need not exist.

        Absolute targets start at the tree's top and ``..`` stops there.  *last* says whether the
        last component is followed, too.
        """
        return resolve(path, self.readlink, last=last)

    def readlink(self, path: str) -> str:
        """Return the target of the symbolic link *path*, ``""`` if *path* is not a link."""
        node = self._target.node(path)
        return node.entry.link if node and node.entry.kind == Kind.SYMLINK else ""


def _walk(prefix: str, directory: Node) -> Iterator[Found]:
    children = directory.children
    for name in sorted(children):
        path, child = prefix + decode(name), children[name]
        yield _found(path, child)
        if child.is_directory:
            yield from _walk(f"{path}/", child)


def _found(path: str, node: Node) -> Found:
    entry = node.entry if node.entry.path == path else node.entry._replace(path=path)
    return Found(entry, node.layer, node.placed.offset, node.placed.sparse, node.number)
