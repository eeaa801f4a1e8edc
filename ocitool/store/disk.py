"""Full and failing disks: their errors as the store's own, and a reserve for removing things.

Removing needs some space itself, also on a disk without a free byte.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final

from ocitool.errors import StoreError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_RESERVE: Final = 4 << 20  # bytes: index.json anew, the database's log, a few directories
_TIMES: Final = 8  # as much must be free, or the reserve would be what fills the disk
_SMALL: Final = 64 << 10  # bytes; SQLite's index of its log begins with half of that


@contextlib.contextmanager
def full_disk(root: str) -> Iterator[None]:
    """Turn the errors of a full or failing disk into the store's own."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, root) from error


def require_room(root: str, size: int) -> None:
    """Refuse work that brings *size* bytes to the file system of *root* and cannot end well.

    Raises:
        StoreError: there is less room than that; a quota of the user may be smaller still, and
            shows when it is reached.
    """
    with full_disk(root):
        free = free_bytes(root)
    if size > free:
        raise StoreError(
            f"{size} bytes are needed, and the disk has {free} left",
            where=root,
            hint="free some space: `ocitool system prune -a`, or give --root another disk",
        )


def free_bytes(root: str) -> int:
    """Return how many bytes this user may still write to the file system of *root*."""
    state = os.statvfs(root)
    return (state.f_bavail if os.geteuid() else state.f_bfree) * state.f_frsize


def is_full(directory: str) -> bool:
    """Say whether there is no room for a small file: the disk is full, or the user's quota."""
    import tempfile  # few need it

    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            os.posix_fallocate(file.fileno(), 0, _SMALL)
    except OSError as error:
        return error.errno in _FULL
    return False


def disk_error(error: OSError, root: str) -> StoreError:
    """Return the store's error for one of the system."""
    path = error.filename if isinstance(error.filename, str) else root
    if error.errno in _FULL:
        return full_error(root)
    hint = ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "give --root a directory you may write to"
    return StoreError(f"{error.strerror or error}", where=path, hint=hint)


def full_error(where: str) -> StoreError:
    """Return the error of a full disk."""
    return StoreError(
        "the disk is full", where=where, hint="free some space: `ocitool system prune -a`"
    )


def keep_reserve(path: str) -> None:
    """Make the reserve, a file that only takes space, if there is enough of it."""
    with contextlib.suppress(OSError):  # done without, where there is no room for it
        if os.path.exists(path) or free_bytes(os.path.dirname(path)) < _TIMES * _RESERVE:
            return
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _RESERVE)
        except OSError:
            os.unlink(path)
        finally:
            os.close(fd)


def free_reserve(path: str) -> None:
    """Free the reserve if the disk is full: removing things needs space itself."""
    with contextlib.suppress(OSError):
        state = os.statvfs(os.path.dirname(path))
        # Not what root may have beyond that: ext4 counts room there that nobody gets.
        if state.f_bavail * state.f_frsize < _RESERVE:
            os.unlink(path)
