"""Files of a context that a build reads itself: no link leads out of it.

Source: BuildKit and buildah resolve links of the Dockerfile and of ignore files inside the context.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from ocitool.builder.context.file_tree import FileTree
from ocitool.layer.symlinks import resolve


class Inside(NamedTuple):
    """A file of the directory *top*, by its path without links."""

    top: str
    path: str

    def open(self, _: str, flags: int) -> int:
        """Open it as open(2) with *flags*; no link is followed that is put there meanwhile."""
        with contextlib.closing(FileTree(self.top)) as tree:
            return tree.open(self.path, flags)


def inside(top: str, name: str) -> Inside:
    """Return the file *name* of the directory *top*; links are followed as in a chroot(2).

    Raises:
        LayerError: there are too many links.
    """

    with contextlib.closing(FileTree(os.path.realpath(top))) as tree:

        def readlink(path: str) -> str:
            try:
                return tree.readlink(path)
            except OSError:
                return ""

        return Inside(tree.top, resolve(name, readlink))


def beside(file: str, suffix: str, top: str) -> Inside:
    """Return the file whose name is that of *file* with *suffix* appended.

    Links are followed inside the context *top*, or, if the file is not in it, inside its directory.
    """
    folder, name = os.path.split(os.path.abspath(file))
    folder, top = os.path.realpath(folder), os.path.realpath(top)
    if os.path.commonpath((folder, top)) != top:
        return inside(folder, name + suffix)
    return inside(top, os.path.relpath(f"{folder}/{name}{suffix}", top))
