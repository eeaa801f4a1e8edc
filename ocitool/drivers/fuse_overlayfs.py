"""Overlays served by the program fuse-overlayfs: for kernels that give a user no overlay.

Layers are those of `ocitool.drivers.overlay`.  The program copies up whole files and never
redirects, so that an upper directory is complete by itself, as the kernel's is; only its
whiteouts differ, and `tidy` turns them into the kernel's: to remove a file the program leaves a
character device 0:0, as the kernel does, but also where no lower layer has the name.  Every
directory that it makes is opaque, whether or not there is something to hide: by
``trusted.overlay.opaque`` or, in a user namespace, ``user.fuseoverlayfs.opaque``, and by the
files ``.wh..wh..opq`` and ``.wh..opq`` in it.  When one name of a file is removed the others are
copied up, although nothing changes in them.

Source: fuse-overlayfs(1), and what version 1.10 was seen to do.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from ocitool.drivers import probes
from ocitool.drivers.driver import Support
from ocitool.drivers.layout import FS, Folders, InFolders
from ocitool.drivers.overlay import OverlayDriver
from ocitool.layer import xattrs
from ocitool.layer.unpack.lower import find
from ocitool.layer.whiteouts import is_whiteout
from ocitool_runtime.sandbox.rootfs.fuse import TYPE

if TYPE_CHECKING:
    from ocitool.layer.changeset import Applied
    from ocitool.oci.content import Stream
    from ocitool_runtime.spec import Mount


class FuseOverlayDriver(InFolders):
    """The layers and trees of `OverlayDriver`, mounted by a program."""

    name: ClassVar[str] = TYPE
    mapped: ClassVar[frozenset[str]] = OverlayDriver.mapped

    def __init__(self, home: str) -> None:
        self._folders = Folders(home)
        self._overlay = OverlayDriver(home)

    def probe(self) -> Support:
        return probes.try_fuse(self._folders.home)

    def begin(self, key: str, parents: Sequence[str]) -> None:
        self._overlay.begin(key, parents)

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        return self._overlay.apply(key, parents, tar)

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        return tuple(map(_served, self._overlay.mounts(key, parents)))

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        return tuple(map(_served, self._overlay.view(parents)))

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        lower = [self._folders.layer(name) for name in reversed(parents)]
        tidy(f"{self._folders.tree(key)}/{FS}", lower)
        return self._overlay.diff(key, parents, sink, clamp=clamp)

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        return self._overlay.check(layer, parents, tar)


def _served(mount: Mount) -> Mount:
    return replace(mount, type=TYPE, options=()) if mount.type == "overlay" else mount


_FILES: Final = frozenset({".wh..wh..opq", ".wh..opq"})
_TRUSTED: Final = "trusted.overlay.opaque"
_USER: Final = "user.overlay.opaque"
_ATTRIBUTES: Final = (_TRUSTED, _USER, "user.fuseoverlayfs.opaque")


def tidy(upper: str, lower: Sequence[str]) -> None:
    """Have *upper* marked as the kernel would, and only what hides something.

    *lower* are the trees below, the topmost first.  What is shown stays the same, and so do the
    times of directories.
    """
    _tidy(upper, "", lower)


def _tidy(place: str, path: str, lower: Sequence[str]) -> None:
    before = os.stat(place)
    below = lower
    if path and _take_marks(place):
        below = ()
        if find(lower, path) is not None:
            _mark(place)
    with os.scandir(place) as found:
        entries = list(found)
    for entry in entries:
        state = entry.stat(follow_symlinks=False)
        child = f"{path}/{entry.name}" if path else entry.name
        if stat.S_ISDIR(state.st_mode):
            _tidy(entry.path, child, below)
        elif is_whiteout(state):
            if find(below, child) is None:
                os.unlink(entry.path)
        elif stat.S_ISREG(state.st_mode) and _is_spare_copy(entry.path, state, find(below, child)):
            os.unlink(entry.path)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


def _is_spare_copy(
    place: str, state: os.stat_result, found: tuple[str, os.stat_result] | None
) -> bool:
    """Say whether the file is *found* below just so, with further names there."""
    if found is None or found[1].st_nlink < 2 or state.st_nlink > 1:
        return False
    below, was = found
    for name in ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns"):
        if getattr(state, name) != getattr(was, name):
            return False
    import filecmp  # seldom

    return xattrs.read(place) == xattrs.read(below) and filecmp.cmp(place, below, shallow=False)


def _mark(place: str) -> None:
    try:
        os.setxattr(place, _TRUSTED, b"y")
    except PermissionError:  # in a user namespace
        os.setxattr(place, _USER, b"y")


def _take_marks(place: str) -> bool:
    """Remove whatever marks the directory as opaque; say whether something did."""
    marked = False
    for name in _ATTRIBUTES:
        with contextlib.suppress(OSError):  # not there, or not allowed here
            marked = os.getxattr(place, name) == b"y" or marked
            os.removexattr(place, name)
    for name in _FILES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{place}/{name}")
            marked = True
    return marked
