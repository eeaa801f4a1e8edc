"""The nodes of an EROFS image, in memory, as the target of a layer; its tar is never unpacked."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import Final, Protocol

from ocitool.errors import LayerError
from ocitool.layer import xattrs
from ocitool.layer.entry import NO_XATTRS, Entry, Kind, decode, described, encode, kind_of
from ocitool.layer.erofs import format
from ocitool.layer.erofs.lower_layers import Seen, Stack, belonging, entry_of
from ocitool.layer.erofs.node import HOLES, Device, Node, directory, whiteout
from ocitool.layer.memory_tree import MemoryTree
from ocitool.layer.tar.reader import TarReader

_TYPES: Final = {
    Kind.FILE: stat.S_IFREG,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHAR: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}
_LONGEST_NAME: Final = 255  # bytes of an attribute's name, XATTR_NAME_MAX


class Holes(Protocol):
    """Takes the content of files with holes, which no tar holds as it is."""

    size: int  # bytes that were taken, whole blocks

    def take(self, reader: TarReader, size: int) -> int:
        """Keep the content of the member that *reader* is at; returns where it begins."""


class ErofsTarget(MemoryTree[Node]):
    """The tree ``root``, as overlayfs wants a layer, on the images *below*.

    The content of files stays where the member is that *reader* is at, or goes to *holes*.
    """

    def __init__(self, below: Stack, reader: TarReader, holes: Holes) -> None:
        top = below.find(())
        super().__init__(top.node if top else directory())
        self.root.xattrs = belonging(self.root)
        self._below = below
        self._reader = reader
        self._holes = holes
        self._tags: dict[str, int] = {"": 0}  # of the devices; the layer's own tar is the first
        self._sizes: dict[str, int] = {}  # of those of the layers below

    def devices(self, size: int) -> tuple[Device, ...]:
        """Return the devices that have the content.

        They are a tar of *size* bytes, the file of holes if it was ever used, and such files of
        the layers below.
        """
        sizes = {**self._sizes, "": size, HOLES: self._holes.size}
        return tuple(Device(tag=tag, size=sizes[tag]) for tag in self._tags)

    def new_directory(self, path: str) -> Node:
        return directory()

    def kind(self, path: str) -> str:
        node = self.node(path)
        if node is None:
            return ""
        return Kind.WHITEOUT if node.is_whiteout else kind_of(node.mode)

    def find(self, path: str) -> Entry | None:
        found = self._find(path)
        return None if found is None else entry_of(path, found.node)

    def covers(self, path: str) -> bool:
        node = self.root
        parts = encode(path).split(b"/")
        for part in parts[:-1]:
            node = node.children[part]
            if node.is_opaque:
                return False
        return self._below.find(parts) is not None

    def root_names(self) -> Iterable[str]:
        return map(decode, (*self._below.root_names(), *self.root.children))

    def create(self, directory: str, name: str, entry: Entry) -> bool:
        children = self._children(directory)
        key = encode(name)
        if key in children:
            raise FileExistsError(entry.path)
        device, offset = 0, self._reader.offset
        if self._reader.sparse is not None:
            device, offset = self._device(HOLES), self._holes.take(self._reader, entry.size)
        node = Node(
            entry.mode | _TYPES[entry.kind],
            entry.uid,
            entry.gid,
            entry.mtime,
            size=entry.size,
            device=device,
            offset=offset,
            rdev=entry.device,
        )
        if entry.link:
            node.link = encode(entry.link)
        if entry.xattrs:
            node.xattrs = self._kept(entry)
        children[key] = node
        return True

    def set_attributes(self, path: str, entry: Entry | None, *, new: bool) -> None:
        if entry is None:
            entry = Entry(path, Kind.DIRECTORY, 0o755)
        node = self._directories[path]
        node.mode = entry.mode | stat.S_IFDIR
        node.uid, node.gid, node.mtime = entry.uid, entry.gid, entry.mtime
        is_opaque = node.is_opaque
        node.xattrs = self._kept(entry) if entry.xattrs else NO_XATTRS
        if is_opaque:
            node.make_opaque()

    def copy_up(self, path: str) -> bool:
        found = self._find(path)
        if found is None or found.below is None or found.node.is_directory:
            return False
        children, key = self._place(path)
        children[key] = node = found.node
        if node.size:
            tag = found.below.tag(node.device)
            self._sizes[tag] = found.below.image.devices[node.device].size
            node.device = self._device(tag)
        return True

    def describe(self, path: str, link: Entry) -> None:
        node = self._known(path)
        entry = described(entry_of(path, node), link._replace(xattrs=self._kept(link)))
        node.mode = entry.mode | stat.S_IFMT(node.mode)
        node.uid, node.gid, node.mtime = entry.uid, entry.gid, entry.mtime
        node.xattrs = entry.xattrs

    def whiteout(self, path: str) -> None:
        children, key = self._place(path)
        children[key] = whiteout()

    def make_opaque(self, path: str) -> None:
        self._directories[path].make_opaque()

    def _find(self, path: str) -> Seen | None:
        node = self.root
        hidden = False
        parts = encode(path).split(b"/")
        for part in parts:
            if not node.is_directory:
                return None
            hidden = hidden or node.is_opaque
            child = node.children.get(part)
            if child is None:
                return None if hidden else self._below.find(parts)
            if child.is_whiteout:
                return None
            node = child
        return Seen(node, None)

    def _device(self, tag: str) -> int:
        return self._tags.setdefault(tag, len(self._tags))

    def _kept(self, entry: Entry) -> dict[str, bytes]:
        """Return the attributes that an image can hold; notes the others."""
        kept = {}
        for name, value in entry.xattrs.items():
            if not xattrs.belongs(name):
                continue
            if name.endswith(".") or len(encode(name)) > _LONGEST_NAME:
                raise LayerError(f"invalid extended attribute name {name[:40]!r}", where=entry.path)
            if format.split_xattr(name) is None:
                text = f"the attribute {name} was left out: the file system does not take it"
                self.notes[text] = self.notes.get(text, 0) + 1
                continue
            kept[name] = value
        return kept
