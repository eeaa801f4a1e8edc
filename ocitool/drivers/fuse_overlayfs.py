"""Overlays served by the program fuse-overlayfs, for users whose kernel refuses them overlayfs.

Layers are those of `ocitool.drivers.overlay`.  The program copies up whole files and never
redirects, so that an upper directory is complete by itself, as the kernel's is.  Its whiteouts
differ, and `_normalize` turns them into the kernel's:

- A removed file leaves a character device 0:0, as with the kernel, but also where no lower layer
  has the name.
- Every new directory is opaque, whether or not there is something to hide: by
  ``trusted.overlay.opaque`` or, in a user namespace, ``user.fuseoverlayfs.opaque``, and by the
  files ``.wh..wh..opq`` and ``.wh..opq`` in it.
- When one name of a file is removed, the others are copied up although nothing changes in them.

Source: fuse-overlayfs(1), and what version 1.10 was seen to do.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from ocitool.drivers import probes
from ocitool.drivers.driver import Support
from ocitool.drivers.overlay import OverlayDriver
from ocitool.layer import xattrs
from ocitool.layer.unpack.lower_layers import find
from ocitool.layer.unpack.whiteouts import is_whiteout
from ocitool_runtime.sandbox.rootfs.fuse import TYPE

if TYPE_CHECKING:
    from ocitool_runtime.spec import Mount


class FuseOverlayDriver(OverlayDriver):
    """An `OverlayDriver` whose overlays are mounted by a program."""

    name: ClassVar[str] = TYPE

    def probe(self) -> Support:
        return probes.try_fuse(self._home)

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        return tuple(map(_served, super().mounts(key, parents)))

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        return tuple(map(_served, super().view(parents)))

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        _normalize(self._root(key), "", self._lower(parents))
        return super().diff(key, parents, sink, clamp=clamp)


def _served(mount: Mount) -> Mount:
    return replace(mount, type=TYPE, options=()) if mount.type == "overlay" else mount


_FILES: Final = frozenset({".wh..wh..opq", ".wh..opq"})
_TRUSTED: Final = "trusted.overlay.opaque"
_USER: Final = "user.overlay.opaque"
_ATTRIBUTES: Final = (_TRUSTED, _USER, "user.fuseoverlayfs.opaque")


def _normalize(directory: str, path: str, lower: Sequence[str]) -> None:
    """Mark *directory* of an upper directory as the kernel's overlayfs would have.

    *path* is its path in the upper directory.  *lower* are the lower directories, the topmost
    first.  Only what hides something stays marked.  What a mount shows stays the same, and so do
    the times of directories.
    """
    before = os.stat(directory)
    visible = lower
    if path and _unmark_opaque(directory):
        visible = ()
        if find(lower, path) is not None:
            _mark_opaque(directory)
    with os.scandir(directory) as found:
        entries = list(found)
    for entry in entries:
        state = entry.stat(follow_symlinks=False)
        child = f"{path}/{entry.name}" if path else entry.name
        if stat.S_ISDIR(state.st_mode):
            _normalize(entry.path, child, visible)
        elif is_whiteout(state):
            if find(visible, child) is None:
                os.unlink(entry.path)
        elif stat.S_ISREG(state.st_mode) and _is_needless_copy(
            entry.path, state, find(visible, child)
        ):
            os.unlink(entry.path)
    os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))


def _is_needless_copy(
    copy: str, state: os.stat_result, found: tuple[str, os.stat_result] | None
) -> bool:
    """Say whether the file is an unchanged copy of the lower file *found*, which has more names."""
    if found is None or found[1].st_nlink < 2 or state.st_nlink > 1:
        return False
    original, was = found
    for name in ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns"):
        if getattr(state, name) != getattr(was, name):
            return False
    import filecmp  # rarely needed

    return xattrs.read(copy) == xattrs.read(original) and filecmp.cmp(copy, original, shallow=False)


def _mark_opaque(directory: str) -> None:
    try:
        os.setxattr(directory, _TRUSTED, b"y")
    except PermissionError:  # in a user namespace
        os.setxattr(directory, _USER, b"y")


def _unmark_opaque(directory: str) -> bool:
    """Remove what marks the directory as opaque; say whether anything did."""
    marked = False
    for name in _ATTRIBUTES:
        with contextlib.suppress(OSError):  # missing, or not allowed here
            marked = os.getxattr(directory, name) == b"y" or marked
            os.removexattr(directory, name)
    for name in _FILES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{directory}/{name}")
            marked = True
    return marked
