"""The tree that layers make together, from their indexes: nothing is unpacked or mounted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ocitool.errors import LayerError
from ocitool.layer.entry import Entry, Kind, encode, split
from ocitool.layer.index.index import BELOW, LayerIndex
from ocitool.layer.symlinks import resolve
from ocitool.layer.tar.sparse import Spans


class Found(NamedTuple):
    """An entry, and where its content is: the number of the layer (0 the lowest), the offset.

    ``sparse`` is as of a `TarReader`: None unless only these runs of data are there.
    """

    entry: Entry
    layer: int
    offset: int
    sparse: Spans | None = None

    @property
    def packed(self) -> int:
        """How many bytes of content the tar holds."""
        if self.sparse is None:
            return self.entry.size
        return sum(length for _, length in self.sparse)


class ImageTree:
    """Looks paths up in a stack of layers; *indexes* come lowest first.

    Directories that no layer has an entry for, but that one uses, are 0755 and root's.
    """

    def __init__(
        self, indexes: Sequence[LayerIndex], parts: dict[int, ImageTree] | None = None
    ) -> None:
        self._indexes = tuple(indexes)
        self._stack = list(enumerate(indexes))[::-1]  # topmost first
        self._showing: dict[str, list[tuple[int, LayerIndex]]] = {"": self._top()}
        # The trees of the lowest layers alone, by how many; those share them.
        self._parts = {} if parts is None else parts
        self._busy: set[tuple[int, str]] = set()

    def get(self, path: str) -> Found | None:
        """Return what *path* is, no link followed; None if there is nothing."""
        if not path:
            return self._root()
        for number, index in self._layers(split(path)[0]):
            placed = index.get(path)
            if placed is not None:
                return Found(placed.entry, number, placed.offset, placed.sparse)
            if index.is_directory(path):  # implied: a layer below may know its attributes
                below = None if index.hides(path) else self._below(path, number)
                return below or Found(Entry(path, Kind.DIRECTORY, 0o755), number, 0)
            if index.hides(path):
                return None
        return None

    def names(self, directory: str) -> list[str]:
        """Return the names in *directory*, sorted bytewise."""
        found: set[str] = set()
        hidden: set[str] = set()
        for _, index in self._layers(directory):
            names = set(index.names(directory))
            found |= names - hidden
            hidden |= names
            hidden.update(index.hidden_in(directory))
        return sorted(found, key=encode)

    def walk(self, directory: str) -> Iterator[Found]:
        """Yield everything below *directory*, in the layer's order."""
        for name in self.names(directory):
            path = f"{directory}/{name}" if directory else name
            found = self.get(path)
            if found is None:
                continue
            yield found
            if found.entry.kind == Kind.DIRECTORY:
                yield from self.walk(path)

    def resolve(self, path: str, *, last: bool = True) -> str:
        """Return *path* with its links followed inside this tree; its end need not exist.

        Absolute targets start at the tree's top and ``..`` stops there.  *last* says whether the
        last component is followed, too.
        """
        return resolve(path, self.readlink, last=last)

    def readlink(self, path: str) -> str:
        """Return the target of the symbolic link *path*, ``""`` if it is none."""
        found = self.get(path)
        if found is not None and found.entry.kind == Kind.HARDLINK:
            found = self.original(found)
        return found.entry.link if found and found.entry.kind == Kind.SYMLINK else ""

    def original(self, found: Found) -> Found:
        """Return the entry that *found* is another name of: itself, unless it is a hard link.

        Raises:
            LayerError: it is one to nothing, or in a circle.
        """
        met: set[tuple[int, str]] = set()
        while found.entry.kind == Kind.HARDLINK:
            here = (found.layer, found.entry.path)
            if here in self._busy or here in met:
                raise LayerError("the hard links form a cycle", where=found.entry.path)
            met.add(here)
            self._busy.add(here)  # what it leads through may lead here
            try:
                target = self._target(found)
            finally:
                self._busy.remove(here)
            if target is None or target.entry.kind == Kind.DIRECTORY:
                raise LayerError("the target of a hard link is missing", where=found.entry.path)
            found = target
        return found

    def _target(self, found: Found) -> Found | None:
        """Return what a hard link names: a path of its own layer, or of one below."""
        path = self._part(found.layer + 1).resolve(found.entry.link, last=False)
        placed = self._indexes[found.layer].get(path)
        own = None
        if placed is not None and placed.entry.path != found.entry.path:
            own = Found(placed.entry, found.layer, placed.offset, placed.sparse)
        if own is not None and found.offset != BELOW:
            return own
        return self._part(found.layer).get(path) or own

    def _part(self, count: int) -> ImageTree:
        """Return the tree that the lowest *count* layers make."""
        if count == len(self._indexes):
            return self
        if count not in self._parts:
            self._parts[count] = ImageTree(self._indexes[:count], self._parts)
        return self._parts[count]

    def _root(self) -> Found:
        for number, index in self._stack:
            placed = index.get("")
            if placed is not None:
                return Found(placed.entry, number, placed.offset)
        return Found(Entry("", Kind.DIRECTORY, 0o755), 0, 0)

    def _top(self) -> list[tuple[int, LayerIndex]]:
        for at, (_, index) in enumerate(self._stack, start=1):
            if index.opaque(""):
                return self._stack[:at]
        return self._stack

    def _below(self, path: str, above: int) -> Found | None:
        """Return the directory *path* as the layers below *above* have it.

        That one of them is opaque there hides what is in the directory, not the directory.
        """
        for number, index in self._layers(split(path)[0]):
            if number >= above:
                continue
            placed = index.get(path)
            if placed is not None:
                is_directory = placed.entry.kind == Kind.DIRECTORY
                return Found(placed.entry, number, placed.offset) if is_directory else None
            if index.hides(path):
                return None
        return None

    def _layers(self, directory: str) -> list[tuple[int, LayerIndex]]:
        """Return the layers that show something of *directory*, topmost first."""
        known = self._showing.get(directory)
        if known is not None:
            return known
        showing: list[tuple[int, LayerIndex]] = []
        for number, index in self._layers(split(directory)[0]):
            if index.is_directory(directory):
                showing.append((number, index))
                if index.opaque(directory) or index.hides(directory):
                    break
            elif index.has(directory) or index.hides(directory):
                break
            elif index.touches(directory):
                showing.append((number, index))
        self._showing[directory] = showing
        return showing
