"""A disk whose power can be cut while it is written to: a file that is cloned at one time.

    outer.img    on the machine's disk, holds XFS, which clones a file in one step (reflinks)
    outer/       that XFS, mounted by a loop device
      inner.img  holds the ext4 (or btrfs) of the stores
      cut.img    its clone: what the disk holds when the power goes
    inner/       that ext4; what it has not yet given to its disk is not in a clone
    cut/         a clone, mounted: what was being written is recovered from the journal, or gone

Every loop device goes with its mount (mount(8), "loop").
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FICLONE: Final = 0x40049409  # linux/fs.h
_OUTER: Final = 8 << 30  # bytes; most of it is never written
_INNER: Final = 1 << 30


class Disk:
    """Both file systems below the folder *work*, from `set_up` on; the inner one of that *kind*."""

    def __init__(self, work: Path, kind: str = "ext4") -> None:
        self._make = [f"mkfs.{kind}", "-q", "-f" if kind == "btrfs" else "-F"]
        self._outer = work / "outer"
        self.inner = work / "inner"
        self._cut = work / "cut"

    def missing(self) -> str:
        """Say what this machine lacks, or nothing."""
        tools = ("mkfs.xfs", self._make[0], "mount")
        lost = [tool for tool in tools if shutil.which(tool) is None]
        return f"needs {', '.join(lost)}" if lost else ""

    def set_up(self) -> None:
        """Make and mount both."""
        for place in (self._outer, self.inner, self._cut):
            place.mkdir(parents=True)
        outer = self._outer.with_suffix(".img")
        make(outer, _OUTER, self._outer, "mkfs.xfs", "-q", "-m", "reflink=1")
        make(self._outer / "inner.img", _INNER, self.inner, *self._make)

    def cut(self) -> None:
        """Take what the disk holds now."""
        clone = self._outer / "cut.img"
        clone.unlink(missing_ok=True)
        with open(self._outer / "inner.img", "rb") as disk, open(clone, "xb") as file:
            fcntl.ioctl(file, _FICLONE, disk.fileno())

    @contextlib.contextmanager
    def after_the_cut(self) -> Iterator[Path]:
        """Mount what `cut` took."""
        _mount(self._outer / "cut.img", self._cut)
        try:
            yield self._cut
        finally:
            _call("umount", str(self._cut))


def make(image: Path, size: int, place: Path, *command: str) -> None:
    """Make a file system of *size* bytes in the new file *image*, and mount it on *place*."""
    with open(image, "xb") as file:
        os.truncate(file.fileno(), size)
    _call(*command, str(image))
    _mount(image, place)


def _mount(image: Path, place: Path) -> None:
    _call("mount", "-o", "loop", str(image), str(place))


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
