"""The index of a layer: what it holds, without its content.

The first line is an object with the version of the form.  The members follow, a line each
(`ocitool.layer.index.lines`), so that they can be read, searched and compared with ordinary tools.
They come in the order of the layer, because what it makes depends on it.

Most layers are a tree as they are: every member is in a directory that came before, none is a
whiteout or named twice, and they are in the tree's order.  The first line says so by ``tree``; then
a look-up needs no more than some of the lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ocitool.layer.entry import WHITEOUT, Entry, Kind, described, order, split
from ocitool.layer.index.lines import IndexEntry, SortedLines, corrupt, entries_of, line_of
from ocitool.layer.memory_tree import without_collecting
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.tar.sparse import Spans
from ocitool.oci.content import Stream

_TREE: Final = b'{"version":2,"tree":true}'
_NO_TREE: Final = b'{"version":2,"tree":false}'


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerIndex:
    """An index that was read: its lines, and whether they are a tree."""

    lines: Sequence[bytes]
    is_tree: bool

    def entries(self) -> list[IndexEntry]:
        """Return the members in the order of the layer; `LayerError` if the index is corrupt."""
        with without_collecting():
            return list(entries_of(self.lines))


class IndexWriter:
    """Collects the lines of an index."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._last: bytes | None = None
        self._directories = {""}
        self._links: list[Entry] = []
        self._is_tree = True

    def add(self, entry: Entry, offset: int, sparse: Spans | None = None) -> None:
        """Take the next entry."""
        self._lines.append(line_of(entry, offset, sparse))
        if self._is_tree:
            self._is_tree = self._continues_tree(entry)

    def dump(self) -> bytes:
        """Return the index."""
        lines = SortedLines(self._lines)
        is_tree = self._is_tree and all(_adds_a_name(lines, link) for link in self._links)
        return b"\n".join([_TREE if is_tree else _NO_TREE, *self._lines, b""])

    def _continues_tree(self, entry: Entry) -> bool:
        key, (parent, name) = order(entry.path), split(entry.path)
        if self._last is not None and key <= self._last:
            return False
        self._last = key
        if entry.kind == Kind.DIRECTORY:
            self._directories.add(entry.path)
        elif entry.kind == Kind.HARDLINK:
            self._links.append(entry)
        elif entry.kind == Kind.CHAR and entry.device == (0, 0):
            return False  # which is refused
        return parent in self._directories and not name.startswith(WHITEOUT)


def _adds_a_name(lines: SortedLines, link: Entry) -> bool:
    """Say whether the hard link *link* gives a file before it a name, and changes nothing else."""
    file = lines.find(link.link)
    return (
        file is not None
        and file.entry.kind not in (Kind.DIRECTORY, Kind.HARDLINK)
        and order(file.entry.path) < order(link.path)
        and described(file.entry, link) == file.entry
    )


def index_of(stream: Stream) -> bytes:
    """Read the tar *stream* to its end and return its index."""
    writer = IndexWriter()
    reader = TarReader(stream)
    for entry in reader:
        writer.add(entry, reader.offset, reader.sparse)
    reader.drain()
    return writer.dump()


def parse(data: bytes) -> LayerIndex:
    """Read an index; `LayerError` if it is cut off, or of an earlier version.

    Its lines are parsed when they are needed.
    """
    first, *lines = data.split(b"\n")
    if first not in (_TREE, _NO_TREE) or lines.pop(-1) != b"":
        raise corrupt("it is cut off, or of another version")
    return LayerIndex(lines=lines, is_tree=first == _TREE)


def is_earlier(data: bytes) -> bool:
    """Say whether *data* is of the first version, which sorted the members and had no version."""
    return not data or data.startswith(b"[")
