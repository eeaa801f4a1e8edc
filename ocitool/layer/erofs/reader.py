"""Reading an image that `writer` has written: nodes on demand, by their numbers."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Final, Self

from ocitool.errors import LayerError
from ocitool.layer.entry import NO_XATTRS
from ocitool.layer.erofs import format
from ocitool.layer.erofs.format import BLOCK, DEVICES_AT, INODE, SUPER, SUPER_AT
from ocitool.layer.erofs.node import Device, Node
from ocitool.layer.fileio import open_noatime

_SECOND: Final = 1_000_000_000  # nanoseconds
_PREFIXES: Final = dict(format.PREFIXES)
#: As `ocitool.layer.erofs.lower_layers` makes them: the layer's own, another layer's tar or holes.
_TAG: Final = re.compile(r"(\+|[0-9a-f]{64}|[g-v]{64})?")
_REMEDY: Final = "run `ocitool system check --repair`"


class ErofsImage:
    """An image in a file, one of our own.

    `LayerError` if it is cut off or no image; only after `verify` is all of it beyond doubt.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with open_noatime(path) as file:
            if os.fstat(file.fileno()).st_size < DEVICES_AT:
                raise LayerError("the layer's EROFS image is truncated", where=path, hint=_REMEDY)
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        (magic, _, _, bits, _, root, self.inodes, _, _, blocks, *_, features, _, count, slot,
         _) = SUPER.unpack_from(self._data, SUPER_AT)  # fmt: skip
        known = (format.MAGIC, format.BLOCK_BITS, format.INCOMPATIBLE)
        end = (slot + count) * format.DEVICE.size
        if (magic, bits, features) != known or max(blocks * BLOCK, end) > len(self._data):
            self._data.close()
            raise self._corrupt()
        self.root = root  # the number of its inode
        self._bases: list[int] = []
        self.devices: tuple[Device, ...] = tuple(self._read_devices(slot, count))

    def _read_devices(self, slot: int, count: int) -> Iterator[Device]:
        for number in range(count):
            at = (slot + number) * format.DEVICE.size
            tag, blocks, base = format.DEVICE.unpack_from(self._data, at)
            self._bases.append(base)
            name = tag.rstrip(b"\0").decode("ascii", "replace")
            if not _TAG.fullmatch(name):  # it becomes a part of a path
                raise self._corrupt()
            yield Device(tag=name, size=blocks * BLOCK)

    def _corrupt(self) -> LayerError:
        return LayerError("the layer's EROFS image is corrupt", where=self._path, hint=_REMEDY)

    def verify(self) -> Self:
        """Verify that the image is as it was written; `LayerError` if not."""
        data = bytearray(self._data)
        data[format.UUID] = bytes(16)
        if hashlib.sha256(data).digest()[:16] != self._data[format.UUID]:
            raise self._corrupt()
        return self

    def node(self, number: int) -> Node:
        """Return the node of an inode, without children."""
        data = self._data
        at = number * format.SLOT
        if at + INODE.size > len(data):
            raise self._corrupt()
        (layout, words, mode, _, size, address, _, uid, gid, seconds, nanoseconds,
         _) = INODE.unpack_from(data, at)  # fmt: skip
        node = Node(mode, uid, gid, seconds * _SECOND + nanoseconds)
        if words:
            node.xattrs = self._xattrs(at + INODE.size, words)
        kind = mode & 0o170000
        if kind == stat.S_IFREG:
            node.size = size
            if size:
                node.device = device = self._device(address)
                node.offset = (address - self._bases[device]) * BLOCK
        elif kind == stat.S_IFLNK:
            node.link = self._content(at, layout, words, size, address)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            node.rdev = format.decode_device(address)
        return node

    def names(self, number: int) -> dict[bytes, int]:
        """Return what is in the directory *number*: inodes by their names."""
        at = number * format.SLOT
        layout, words, _, _, size, address, *_ = INODE.unpack_from(self._data, at)
        content = self._content(at, layout, words, size, address)
        found: dict[bytes, int] = {}
        unpack = format.DIRENT.unpack_from
        for start in range(0, size, BLOCK):
            block = content[start : start + BLOCK]
            count = unpack(block, 0)[1] // format.DIRENT.size
            numbers, offsets = [], []
            for entry in range(count):
                child, offset, _, _ = unpack(block, entry * format.DIRENT.size)
                numbers.append(child)
                offsets.append(offset)
            offsets.append(len(block))
            for entry in range(count):
                name = block[offsets[entry] : offsets[entry + 1]]
                if entry == count - 1:
                    name = name.rstrip(b"\0")
                found[name] = numbers[entry]
        del found[b"."], found[b".."]
        return found

    def _device(self, address: int) -> int:
        for number in range(len(self._bases) - 1, -1, -1):
            if address >= self._bases[number]:
                return number
        raise LayerError("an EROFS image has content of its own")

    def _content(self, at: int, layout: int, words: int, size: int, address: int) -> bytes:
        if layout == format.INLINE:
            start = at + INODE.size + (format.XATTRS.size + 4 * (words - 1) if words else 0)
        else:
            start = address * BLOCK
        return self._data[start : start + size]

    def _xattrs(self, at: int, words: int) -> dict[str, bytes]:
        end = at + format.XATTRS.size + 4 * (words - 1)
        at += format.XATTRS.size
        found: dict[str, bytes] = {}
        while at < end:
            length, prefix, size = format.XATTR.unpack_from(self._data, at)
            at += format.XATTR.size
            rest = self._data[at : at + length].decode("utf-8", "surrogateescape")
            found[_PREFIXES[prefix] + rest] = self._data[at + length : at + length + size]
            at += length + size + -(length + size) % 4
        return found or dict(NO_XATTRS)

    def tree(self, devices: Sequence[int]) -> Node:
        """Return the whole tree; of several names of an inode, each is the same node.

        *devices* are the numbers that ``Node.device`` gets instead of the image's own.
        """
        root = self.node(self.root)
        known: dict[int, Node] = {}
        todo = [(root, self.root)]
        while todo:
            directory, number = todo.pop()
            for name, child in self.names(number).items():
                node = known.get(child)
                if node is None:
                    node = known[child] = self.node(child)
                    node.device = devices[node.device]
                    if node.is_directory:
                        todo.append((node, child))
                directory.children[name] = node
        return root

    def nodes(self) -> Iterator[Node]:
        """Yield every inode once, without children, in no order that counts."""
        seen = {self.root}
        todo = [self.root]
        while todo:
            number = todo.pop()
            node = self.node(number)
            yield node
            if node.is_directory:
                below = [child for child in self.names(number).values() if child not in seen]
                seen.update(below)
                todo.extend(set(below))

    def close(self) -> None:
        """Give the memory back."""
        self._data.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
