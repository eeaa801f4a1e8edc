"""Writing an image: a tree of nodes to bytes, the same for the same tree.

The image holds inodes and directories; the content of files stays where it is, in the devices.
Their blocks follow those of the image in one address space, so that a file is just a start and a
length.  The root comes first: its number has 16 bits.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from typing import Final

from ocitool.errors import LayerError, TooLarge
from ocitool.layer.erofs import format
from ocitool.layer.erofs.format import BLOCK, DEVICES_AT, INODE, SUPER, SUPER_AT
from ocitool.layer.erofs.node import Device, Node

_ALIGNED: Final = 64  # bytes; no inode crosses a block
_SECOND: Final = 1_000_000_000  # nanoseconds
_DIRENT: Final = format.DIRENT.size
_HAS_MTIME: Final = 0x2  # a compatible feature: times are those of content, not of change


def write(root: Node, devices: Sequence[Device]) -> bytes:
    """Return the image of *root*; ``Node.device`` counts *devices* from 0.

    Its UUID is a digest of its content, which `ErofsImage.verify` compares.

    Raises:
        LayerError: a node has more attributes than an image can hold.
        TooLarge: the content is beyond what 32 bits of blocks can address (2 TiB).
    """
    return _Image(root, devices).dump()


class _Image:
    def __init__(self, root: Node, devices: Sequence[Device]) -> None:
        self._root = root
        self._devices = devices
        self._order: list[tuple[Node, Node]] = []  # nodes with the directory they were met in
        self._xattrs: dict[int, bytes] = {}  # by where the node stands
        self._blocks: dict[int, list[list[bytes]]] = {}  # names of directories, by block
        self._plain: list[tuple[Node, int]] = []  # what has blocks of its own, and how many bytes
        self._end = DEVICES_AT + len(devices) * format.DEVICE.size

    def dump(self) -> bytes:
        self._lay_out()
        starts, blocks = self._lay_out_plain()
        bases = self._bases(blocks)
        out = bytearray(blocks * BLOCK)
        self._super(out, bases, blocks)
        for number, (node, parent) in enumerate(self._order, start=1):
            self._inode(out, number, node, parent, starts, bases)
        out[format.UUID] = hashlib.sha256(out).digest()[:16]
        return bytes(out)

    # -- where everything goes --------------------------------------------------------------

    def _lay_out(self) -> None:
        """Give every node a place, directories before what is in them."""
        todo = [self._root]
        met: set[int] = set()
        self._root.names = 2
        self._take(self._root, self._root)
        while todo:
            directory = todo.pop()
            below = []
            for name in sorted(directory.children):
                node = directory.children[name]
                if node.is_directory:
                    node.names = 2
                    directory.names += 1
                    below.append(node)
                elif id(node) in met:
                    node.names += 1
                    continue
                else:
                    met.add(id(node))
                    node.names = 1
                self._take(node, directory)
            todo.extend(reversed(below))

    def _take(self, node: Node, parent: Node) -> None:
        kind = node.mode & 0o170000
        xattrs = _xattrs(node) if node.xattrs else b""
        size = 0
        if kind == stat.S_IFDIR:
            blocks = _pack(node)
            size = (len(blocks) - 1) * BLOCK + sum(_DIRENT + len(name) for name in blocks[-1])
        elif kind == stat.S_IFLNK:
            size = len(node.link)
        core = INODE.size + len(xattrs)
        at = self._end
        inline = 0 < size <= BLOCK - _ALIGNED
        if inline and (at + core) // BLOCK != (at + core + size - 1) // BLOCK:
            at += _aligned(-(at + core) % BLOCK, _ALIGNED)
        node.at = at
        self._end = _aligned(at + core + (size if inline else 0), _ALIGNED)
        self._order.append((node, parent))
        if xattrs:
            self._xattrs[at] = xattrs
        if kind == stat.S_IFDIR:
            self._blocks[at] = blocks
        if size and not inline:
            self._plain.append((node, size))

    def _lay_out_plain(self) -> tuple[dict[int, int], int]:
        """Return the first blocks of what is not inline, by the node's place, and all blocks."""
        block = _aligned(self._end, BLOCK) // BLOCK
        starts: dict[int, int] = {}
        for node, size in self._plain:
            starts[node.at] = block
            block += _aligned(size, BLOCK) // BLOCK
        return starts, block

    def _bases(self, blocks: int) -> list[int]:
        bases = []
        for device in self._devices:
            bases.append(blocks)
            blocks += _aligned(device.size, BLOCK) // BLOCK
        if blocks >= format.MOST_BLOCKS:
            raise TooLarge("the layers are larger than an image can address (2 TiB)")
        return bases

    # -- bytes ------------------------------------------------------------------------------

    def _super(self, out: bytearray, bases: list[int], blocks: int) -> None:
        SUPER.pack_into(
            out, SUPER_AT, format.MAGIC, 0, _HAS_MTIME, format.BLOCK_BITS, 0,
            self._root.at // format.SLOT, len(self._order), 0, 0, blocks, 0, 0, b"", b"",
            format.INCOMPATIBLE, 0, len(self._devices), DEVICES_AT // format.DEVICE.size, 0,
        )  # fmt: skip
        for number, (device, base) in enumerate(zip(self._devices, bases, strict=True)):
            at = DEVICES_AT + number * format.DEVICE.size
            size = _aligned(device.size, BLOCK) // BLOCK
            format.DEVICE.pack_into(out, at, device.tag.encode("ascii"), size, base)

    def _inode(
        self,
        out: bytearray,
        number: int,
        node: Node,
        parent: Node,
        starts: dict[int, int],
        bases: list[int],
    ) -> None:
        at = node.at
        kind = node.mode & 0o170000
        size, address, layout = 0, 0, format.PLAIN
        content = b""
        if kind == stat.S_IFREG:
            size = node.size
            address = bases[node.device] + node.offset // BLOCK if size else format.NO_CONTENT
        elif kind == stat.S_IFDIR:
            content = self._directory(node, parent)
        elif kind == stat.S_IFLNK:
            content = node.link
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            address = format.encode_device(*node.rdev)
        xattrs = self._xattrs.get(at, b"")
        tail = at + INODE.size
        words = 0
        if xattrs:
            words = (len(xattrs) - format.XATTRS.size) // 4 + 1
            out[tail : tail + len(xattrs)] = xattrs
            tail += len(xattrs)
        if content:
            size = len(content)
            if at in starts:
                address = starts[at]
                tail = address * BLOCK
            else:
                layout = format.INLINE
            out[tail : tail + size] = content
        INODE.pack_into(
            out, at, layout, words, node.mode, 0, size, address, number, node.uid, node.gid,
            node.mtime // _SECOND, node.mtime % _SECOND, node.names,
        )  # fmt: skip

    def _directory(self, node: Node, parent: Node) -> bytes:
        """Return a directory's blocks: entries first, then their names; the last may be short."""
        children = node.children
        pack = format.DIRENT.pack
        types = format.TYPES
        done = []
        for names in self._blocks[node.at]:
            at = len(names) * _DIRENT
            entries = []
            for name in names:
                child = children.get(name)
                if child is None:  # "." or ".."
                    child = node if name == b"." else parent
                entries.append(pack(child.at // format.SLOT, at, types[child.mode & 0o170000], 0))
                at += len(name)
            done.append(b"".join(entries) + b"".join(names))
        last = done.pop()
        return b"".join([block.ljust(BLOCK, b"\0") for block in done] + [last])


def _pack(node: Node) -> list[list[bytes]]:
    """Divide a directory's names, sorted bytewise, among blocks."""
    names = sorted([b".", b"..", *node.children])
    if sum(map(len, names)) + _DIRENT * len(names) <= BLOCK:
        return [names]
    blocks: list[list[bytes]] = [[]]
    left = BLOCK
    for name in names:
        left -= _DIRENT + len(name)
        if left < 0:
            blocks.append([])
            left = BLOCK - _DIRENT - len(name)
        blocks[-1].append(name)
    return blocks


def _xattrs(node: Node) -> bytes:
    """Return a node's attributes as they follow its inode, in words of four bytes."""
    parts = []
    for name in sorted(node.xattrs):
        value = node.xattrs[name]
        found = format.split_xattr(name)
        if found is None or len(value) > 0xFFFF or len(found[1]) > 0xFF:
            raise LayerError(f"the extended attribute {name!r} cannot be stored in an EROFS image")
        prefix, rest = found
        entry = format.XATTR.pack(len(rest), prefix, len(value)) + rest + value
        parts.append(entry.ljust(_aligned(len(entry), 4), b"\0"))
    data = b"".join(parts)
    if len(data) > format.LONGEST_XATTRS:
        raise LayerError("a file has more extended attributes than an EROFS image can store")
    return format.XATTRS.pack(0, 0) + data if data else b""


def _aligned(size: int, unit: int) -> int:
    return -(-size // unit) * unit
