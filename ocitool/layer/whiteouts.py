"""How a tree on disk shows that a layer removes what is below it.

Source: OCI image-spec v1.1, layer.md, "Whiteouts"; the kernel's overlayfs.rst.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container
from typing import Final, Protocol

from ocitool.layer.beneath import remove_tree


class Whiteouts(Protocol):
    """Turns the whiteouts of a layer into what a driver's trees have for them."""

    def whiteout(self, fd: int, name: str, path: str, ours: Container[str], *, below: bool) -> None:
        """Hide *name* (in the directory *fd*) of the layers below; what this layer has stays.

        *path* is the full path of *name*, *ours* the paths this layer has made so far; *below*
        says whether there is anything to hide.
        """

    def opaque(self, fd: int, path: str, ours: Container[str]) -> None:
        """Hide everything the layers below have in the directory *fd*, which is *path*."""

    def uncover(self, fd: int, name: str) -> bool:
        """Make way for *name*, which may be whited out; True if what was below must stay hidden."""


class OverlayMarks:
    """Overlay's own marks: a character device 0:0, and the attribute ``overlay.opaque``."""

    def __init__(self, namespace: str) -> None:
        self.attribute: Final = f"{namespace}.overlay.opaque"  # trusted as root, user otherwise

    def whiteout(self, fd: int, name: str, path: str, ours: Container[str], *, below: bool) -> None:
        if path not in ours:
            remove_tree(name, dir_fd=fd)  # made only for what is in it, or copied up for a link
        if not below:  # the kernel lists a mark that stands where no directories are merged
            return
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=fd)
        except FileExistsError:
            # The layer has the name as well.  A file hides what is below by itself; a directory
            # would merge with it.
            if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                try:
                    self.opaque(inside, path, ours)
                finally:
                    os.close(inside)

    def opaque(self, fd: int, path: str, ours: Container[str]) -> None:
        os.setxattr(fd, self.attribute, b"y")
        keep_only(fd, path, ours)

    def uncover(self, fd: int, name: str) -> bool:
        if not is_whiteout(os.lstat(name, dir_fd=fd)):
            return False
        os.unlink(name, dir_fd=fd)
        return True


class Removal:
    """For trees that hold everything: what is whited out is removed."""

    def whiteout(self, fd: int, name: str, path: str, ours: Container[str], *, below: bool) -> None:
        _keep_ours(fd, name, path, ours)

    def opaque(self, fd: int, path: str, ours: Container[str]) -> None:
        keep_only(fd, path, ours)

    def uncover(self, fd: int, name: str) -> bool:
        return False


def keep_only(fd: int, path: str, ours: Container[str]) -> None:
    """Remove all but *ours* from the directory *fd*, which is *path*; its time stays."""
    mtime = os.fstat(fd).st_mtime_ns
    for name in os.listdir(fd):
        _keep_ours(fd, name, f"{path}/{name}" if path else name, ours)
    os.utime(fd, ns=(mtime, mtime))


def _keep_ours(fd: int, name: str, path: str, ours: Container[str]) -> None:
    if path not in ours:
        remove_tree(name, dir_fd=fd)
    elif stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        try:
            keep_only(below, path, ours)
        finally:
            os.close(below)


def is_whiteout(found: os.stat_result) -> bool:
    """Say whether this is overlay's mark for a removed name."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
