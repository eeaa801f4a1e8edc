"""The tree that an image shows, in memory, and what an image calls the files of its content."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ocitool.layer.entry import NO_XATTRS
from ocitool.layer.memory_tree import TreeNode

#: overlayfs.rst: a character device 0:0 hides what the layers below have of its name.
_WHITEOUT: Final = stat.S_IFCHR
OPAQUE: Final = "trusted.overlay.opaque"
_OPAQUE_VALUE: Final = b"y"


class Node(TreeNode):
    """One inode.  With several names it is in the tree several times, as the same object.

    Mutable and no dataclass, unlike other values: a tree has 50,000 of them.
    """

    __slots__ = (
        "at", "children", "device", "gid", "link", "mode", "mtime", "names", "offset", "rdev",
        "size", "uid", "xattrs",
    )  # fmt: skip

    def __init__(
        self,
        mode: int,
        uid: int = 0,
        gid: int = 0,
        mtime: int = 0,
        *,
        size: int = 0,
        device: int = 0,
        offset: int = 0,
        link: bytes = b"",
        rdev: tuple[int, int] = (0, 0),
        xattrs: Mapping[str, bytes] = NO_XATTRS,
    ) -> None:
        self.mode = mode  # with the type, as in st_mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime  # nanoseconds since the epoch
        self.size = size  # bytes of a file
        self.device = device  # which of the image's devices has the content, 0 the first
        self.offset = offset  # of the content there, in bytes, at a whole block
        self.link = link  # where a symbolic link leads
        self.rdev = rdev  # major, minor
        self.xattrs = xattrs
        self.children: dict[bytes, Node] = {}
        self.names = 0  # how many it has; counted when an image is written
        self.at = 0  # where it stands in the image, in bytes

    @property
    def is_directory(self) -> bool:
        """Say whether it is a directory."""
        return self.mode & 0o170000 == stat.S_IFDIR

    @property
    def is_whiteout(self) -> bool:
        """Say whether it is a whiteout, as overlayfs has them."""
        return self.mode & 0o170000 == _WHITEOUT and self.rdev == (0, 0)

    @property
    def is_opaque(self) -> bool:
        """Say whether it is a directory that hides what the layers below have in it."""
        return self.xattrs.get(OPAQUE) == _OPAQUE_VALUE

    def make_opaque(self) -> None:
        """Hide what the layers below have in it."""
        self.xattrs = {**self.xattrs, OPAQUE: _OPAQUE_VALUE}

    def copy(self) -> Node:
        """Return the same inode without names and children."""
        return Node(
            self.mode,
            self.uid,
            self.gid,
            self.mtime,
            size=self.size,
            device=self.device,
            offset=self.offset,
            link=self.link,
            rdev=self.rdev,
            xattrs=self.xattrs,
        )


def whiteout() -> Node:
    """Return a whiteout, as overlayfs has them."""
    return Node(_WHITEOUT)


def directory() -> Node:
    """Return a directory that no layer has an entry for: root's, 0755, of no time."""
    return Node(stat.S_IFDIR | 0o755)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A file that holds content of an image.  ``tag`` is what its owner knows it by."""

    tag: str  # ASCII, 64 characters at most
    size: int  # bytes


#: How an image calls the devices of its own layer: its tar, and the file of what has holes.
TAR: Final = ""
HOLES: Final = "+"
#: Elsewhere a tar's tag is its layer's name, 64 digits that fill the tag; that of the other file
#: is the same number in other letters.
_DIGITS: Final = "0123456789abcdef"
_OTHERS: Final = "ghijklmnopqrstuv"
_TO_HOLES: Final = str.maketrans(_DIGITS, _OTHERS)
_TO_NAME: Final = str.maketrans(_OTHERS, _DIGITS)


def device_of(tag: str, layer: str) -> tuple[str, bool]:
    """Return whose device *tag* means in an image of *layer*, and whether it is that of holes."""
    if tag in (TAR, HOLES):
        return layer, tag == HOLES
    return tag.translate(_TO_NAME), not set(tag) <= set(_DIGITS)


def foreign_tag(tag: str, layer: str) -> str:
    """Return what images of other layers call the device that one of *layer* calls *tag*."""
    return layer.translate(_TO_HOLES) if tag == HOLES else tag or layer
