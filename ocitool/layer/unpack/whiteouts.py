"""Whiteouts on disk: how a tree shows that a layer removes what the layers below have.

Which they are is decided in `ocitool.layer.apply_changeset`.

Source: OCI image-spec v1.1, layer.md, "Whiteouts"; the kernel's overlayfs.rst.
"""

from __future__ import annotations

import os
import stat
from typing import Final, Protocol


class Whiteouts(Protocol):
    """Writes the whiteouts of a layer into a driver's trees."""

    def whiteout(self, fd: int, name: str) -> None:
        """Make *name*, which is missing in the directory *fd*, a whiteout."""

    def opaque(self, fd: int) -> None:
        """Make the directory *fd* opaque."""


class OverlayWhiteouts:
    """As overlayfs has them: a character device 0:0, and the xattr ``overlay.opaque``."""

    def __init__(self, namespace: str) -> None:
        self.opaque_xattr: Final = f"{namespace}.overlay.opaque"  # trusted as root, user otherwise

    def whiteout(self, fd: int, name: str) -> None:
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=fd)

    def opaque(self, fd: int) -> None:
        os.setxattr(fd, self.opaque_xattr, b"y")


class Removal:
    """For trees that hold the layers below as well: what is whited out is removed, no more."""

    def whiteout(self, fd: int, name: str) -> None:
        return None

    def opaque(self, fd: int) -> None:
        return None


def is_whiteout(found: os.stat_result) -> bool:
    """Say whether this is overlayfs's whiteout."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
