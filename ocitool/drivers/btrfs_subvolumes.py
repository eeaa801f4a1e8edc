"""Subvolumes of btrfs: made, copied, set read-only and destroyed by ioctl(2).

Source: linux/btrfs.h; btrfs-ioctl(2); btrfs-subvolume(8).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from typing import Final

from ocitool.drivers.fullcopy import copy_tree
from ocitool.layer.beneath import remove_tree

_MAGIC: Final = 0x9123683E  # statfs(2)
_TOP: Final = 256  # the inode number of the root of every subvolume, and of no other directory
_ARGUMENTS: Final = 4096  # bytes; three of the structures fill a page
_INFO: Final = 504  # bytes of struct btrfs_ioctl_get_subvol_info_args
_OTIME: Final = 392  # the offset of the time at which the subvolume was made
_COUNT: Final = (
    8 + 255 * 16
)  # the offset of the number of subvolumes in ..._get_subvol_rootref_args
_READ_ONLY: Final = 1 << 1  # BTRFS_SUBVOL_RDONLY
_FLAGS: Final = struct.Struct("=Q")


def _number(direction: int, command: int, size: int) -> int:
    return direction << 30 | size << 16 | 0x94 << 8 | command  # asm-generic/ioctl.h


_WRITE, _READ = 1, 2
_SNAP_DESTROY: Final = _number(_WRITE, 15, _ARGUMENTS)
_SNAP_CREATE: Final = _number(_WRITE, 23, _ARGUMENTS)
_SUBVOL_CREATE: Final = _number(_WRITE, 24, _ARGUMENTS)
_GET_FLAGS: Final = _number(_READ, 25, _FLAGS.size)
_SET_FLAGS: Final = _number(_WRITE, 26, _FLAGS.size)
_GET_INFO: Final = _number(_READ, 60, _INFO)
_GET_ROOTREF: Final = _number(_READ | _WRITE, 61, _ARGUMENTS)


def on_btrfs(path: str) -> bool:
    """Say whether the directory *path* is on btrfs."""
    from ocitool_runtime.sandbox.kernel.syscalls import filesystem_type

    with _opened(path) as fd:
        return filesystem_type(fd) == _MAGIC


def create(path: str) -> None:
    """Make the empty subvolume *path*."""
    parent, name = os.path.split(path)
    with _opened(parent) as fd:
        fcntl.ioctl(fd, _SUBVOL_CREATE, _named(name))


def snapshot(source: str, path: str) -> None:
    """Make the subvolume *path* as a btrfs snapshot of the subvolume *source*.

    Subvolumes within *source* are empty directories in it.
    """
    parent, name = os.path.split(path)
    with _opened(parent) as fd, _opened(source) as old:
        fcntl.ioctl(fd, _SNAP_CREATE, _named(name, old))


def _named(name: str, fd: int = 0) -> bytearray:
    arguments = bytearray(_ARGUMENTS)  # struct btrfs_ioctl_vol_args_v2
    struct.pack_into("=q", arguments, 0, fd)
    text = os.fsencode(name)
    arguments[56 : 56 + len(text)] = text
    return arguments


def made_at(path: str) -> int:
    """Return when the subvolume *path* was made, in nanoseconds since the epoch."""
    answer = bytearray(_INFO)
    with _opened(path) as fd:
        fcntl.ioctl(fd, _GET_INFO, answer)
    seconds, nanoseconds = struct.unpack_from("=QI", answer, _OTIME)
    return int(seconds) * 10**9 + int(nanoseconds)


def set_read_only(path: str, wanted: bool) -> None:
    """Set whether the subvolume *path* is read-only."""
    with _opened(path) as fd:
        answer = bytearray(_FLAGS.size)
        fcntl.ioctl(fd, _GET_FLAGS, answer)
        (flags,) = _FLAGS.unpack(answer)
        new = flags | _READ_ONLY if wanted else flags & ~_READ_ONLY
        if new != flags:
            fcntl.ioctl(fd, _SET_FLAGS, _FLAGS.pack(new))


def destroy(path: str) -> bool:
    """Remove the subvolume *path* with all its files, at once; False if that is not allowed.

    It needs root, or the mount option ``user_subvol_rm_allowed``.  For other users everything in
    it is made writable, so that it can be removed file by file: an empty subvolume is removed by
    rmdir(2) as any directory (Linux 4.18).
    """
    set_read_only(path, False)
    gone = [destroy(inner) for inner in list(_within(path))]  # all, even if the first fails
    if not all(gone):
        return False
    parent, name = os.path.split(path)
    arguments = bytearray(_ARGUMENTS)  # struct btrfs_ioctl_vol_args
    text = os.fsencode(name)
    arguments[8 : 8 + len(text)] = text
    try:
        with _opened(parent) as fd:
            fcntl.ioctl(fd, _SNAP_DESTROY, arguments)
    except PermissionError:
        return False
    return True


def flatten(path: str) -> None:
    """Make the subvolumes within the subvolume *path* plain directories; blocks stay shared.

    A program in a container may have made them, and no btrfs snapshot of *path* would contain them.
    """
    for inner in list(_within(path)):
        parent = os.path.dirname(inner)
        times = os.stat(parent)
        copy = f"{parent}/{os.urandom(16).hex()}"
        os.mkdir(copy, 0o700)
        try:
            copy_tree(inner, copy)
            if not destroy(inner):
                remove_tree(inner)
            os.rename(copy, inner)
        except BaseException:
            remove_tree(copy)
            raise
        os.utime(parent, ns=(times.st_atime_ns, times.st_mtime_ns))


def is_subvolume(path: str) -> bool:
    """Say whether *path*, which is on btrfs, is the root of a subvolume."""
    try:
        return _is_top(os.lstat(path))
    except FileNotFoundError:
        return False


def _is_top(state: os.stat_result) -> bool:
    return stat.S_ISDIR(state.st_mode) and state.st_ino == _TOP


def _within(path: str) -> Iterator[str]:
    """Yield the subvolumes directly within the subvolume *path*."""
    if not _has_any(path):
        return
    todo = [path]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    continue
                if _is_top(entry.stat(follow_symlinks=False)):
                    yield entry.path
                else:
                    todo.append(entry.path)


def _has_any(path: str) -> bool:
    answer = bytearray(_ARGUMENTS)
    try:
        with _opened(path) as fd:
            fcntl.ioctl(fd, _GET_ROOTREF, answer)
    except OSError as error:
        if error.errno != errno.EOVERFLOW:  # more than fit into the answer
            raise
        return True
    return answer[_COUNT] > 0


class _opened:
    """A directory, open for the block."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
