"""The parts of an EROFS image on disk, little-endian, and the numbers in them.

Blocks are as large as a tar's, so that a file's content lies in the tar at whole blocks.  Every
inode is of the extended form: 64 bytes, with nanoseconds.

Source: the kernel's fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst.
"""

from __future__ import annotations

import stat
import struct
from typing import Final

MAGIC: Final = 0xE0F5E1E2
BLOCK_BITS: Final = 9
BLOCK: Final = 1 << BLOCK_BITS  # bytes
SLOT: Final = 32  # bytes; an inode's number counts them from the image's start

#: Where things begin, in bytes.
SUPER_AT: Final = 1024
DEVICES_AT: Final = SUPER_AT + 128
#: In our images the beginning of the SHA-256 of the image with zeros here.
UUID: Final = slice(SUPER_AT + 48, SUPER_AT + 64)

#: magic, checksum, compatible features, block bits, extension slots, root, inodes, build time,
#: its nanoseconds, blocks, metadata block, shared attributes' block, uuid, volume name,
#: incompatible features, compression, extra devices, their slot, directory block bits, attribute
#: prefixes, and nothing to the end.
SUPER: Final = struct.Struct("<IIIBBHQQIIII16s16sIHHHB37x")
#: tag, blocks, first block in the address space of the whole image, and nothing to the end.
DEVICE: Final = struct.Struct("<64sII56x")
#: layout, attribute words, mode, nothing, size, address, number, uid, gid, seconds, nanoseconds,
#: links, and nothing to the end.
INODE: Final = struct.Struct("<HHHHQIIIIqII16x")
#: inode number, offset of the name in the block, type, nothing.
DIRENT: Final = struct.Struct("<QHBB")
#: name filter, shared attributes, and nothing to the end.
XATTRS: Final = struct.Struct("<IB7x")
#: length of the name without its prefix, number of the prefix, length of the value.
XATTR: Final = struct.Struct("<BBH")

INCOMPATIBLE: Final = 0x8  # a device table
PLAIN: Final = 0 << 1 | 1  # content in blocks; an extended inode
INLINE: Final = 2 << 1 | 1  # content right after the inode, within one block
NO_CONTENT: Final = 0xFFFFFFFF

LONGEST_XATTRS: Final = 0xFFFE * 4  # bytes of one inode's attributes: words less one for them all
MOST_BLOCKS: Final = 0xFFFFFFFF

#: Prefixes by their numbers; an attribute without one of them cannot be in an image.
PREFIXES: Final = (
    (1, "user."),
    (2, "system.posix_acl_access"),
    (3, "system.posix_acl_default"),
    (4, "trusted."),
    (6, "security."),
)

#: The types that directories say, by `stat.S_IFMT` of the mode.
TYPES: Final = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFLNK: 7,
}


def split_xattr(name: str) -> tuple[int, bytes] | None:
    """Return an attribute's prefix and the rest of its name, None if no image can have it."""
    for number, prefix in PREFIXES:
        if name.startswith(prefix):
            rest = name[len(prefix) :].encode("utf-8", "surrogateescape")
            # ACLs are all prefix, the others never.
            return (number, rest) if bool(rest) == prefix.endswith(".") else None
    return None


def encode_device(major: int, minor: int) -> int:
    """Return a device's number as the kernel writes it (linux/kdev_t.h, new_encode_dev)."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def decode_device(value: int) -> tuple[int, int]:
    """Return major and minor of what `encode_device` gave."""
    return (value & 0xFFF00) >> 8, value & 0xFF | value >> 12 & 0xFFF00
