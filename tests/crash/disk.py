"""A disk whose power can be cut while it is written to: a file that is cloned at one moment.

    outer.img    on the machine's disk, holds XFS, which clones a file in one step (reflinks)
    outer/       that XFS, mounted by a loop device
      inner.img  holds the ext4 of the stores
      cut.img    its clone: what the disk holds when the power goes
    inner/       that ext4; what it has not yet given to its disk is not in a clone
    cut/         a clone, mounted: ext4 recovers from its journal

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
    """Both file systems below the folder *work*, from `set_up` on."""

    def __init__(self, work: Path) -> None:
        self._outer = work / "outer"
        self.inner = work / "inner"
        self._cut = work / "cut"

    @staticmethod
    def missing() -> str:
        """Say what this machine lacks, or nothing."""
        lost = [tool for tool in ("mkfs.xfs", "mkfs.ext4", "mount") if shutil.which(tool) is None]
        return f"needs {', '.join(lost)}" if lost else ""

    def set_up(self) -> None:
        """Make and mount both."""
        for place in (self._outer, self.inner, self._cut):
            place.mkdir()
        outer = _file(self._outer.with_suffix(".img"), _OUTER)
        _call("mkfs.xfs", "-q", "-m", "reflink=1", str(outer))
        _mount(outer, self._outer)
        inner = _file(self._outer / "inner.img", _INNER)
        _call("mkfs.ext4", "-q", "-F", str(inner))
        _mount(inner, self.inner)

    def cut(self) -> None:
        """Take what the disk holds at this moment."""
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


def _file(path: Path, size: int) -> Path:
    with open(path, "xb") as file:
        os.truncate(file.fileno(), size)
    return path


def _mount(image: Path, place: Path) -> None:
    _call("mount", "-o", "loop", str(image), str(place))


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
