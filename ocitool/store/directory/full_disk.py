"""Errors of full and failing disks, and a reserve of space for removing data.

Removing data needs some space itself, so the store keeps a file that only takes space, and removes
it when the disk is full.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final

from ocitool.errors import StoreError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_RESERVE: Final = 4 << 20  # bytes: a new index.json, the database's log, a few directories
_TIMES: Final = 8  # this many times the reserve must be free, or it would itself fill the disk
_SMALL: Final = 64 << 10  # bytes; SQLite's index of its log begins with half of that


@contextlib.contextmanager
def full_disk(root: str) -> Iterator[None]:
    """Translate `OSError` into `StoreError`, with a hint for a full disk."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, root) from error


def require_room(root: str, size: int) -> None:
    """Refuse work that needs *size* bytes on the file system of *root* if they are not free.

    Raises:
        StoreError: there is less space.  A quota of the user may be lower: that is only seen when
            it is reached.
    """
    with full_disk(root):
        free = free_bytes(root)
    if size > free:
        raise StoreError(
            f"not enough disk space: {size} bytes are needed, and {free} are left",
            where=root,
            hint="free some space: `ocitool system prune -a`, or use --root with another disk",
        )


def free_bytes(root: str) -> int:
    """Return how many bytes this user may still write to the file system of *root*."""
    state = os.statvfs(root)
    return (state.f_bavail if os.geteuid() else state.f_bfree) * state.f_frsize


def is_full(directory: str) -> bool:
    """Say whether a small file has no space: the disk is full, or the user's quota is used up."""
    import tempfile  # few commands need it

    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            os.posix_fallocate(file.fileno(), 0, _SMALL)
    except OSError as error:
        return error.errno in _FULL
    return False


def disk_error(error: OSError, root: str) -> StoreError:
    """Return the `StoreError` for an error of the system."""
    path = error.filename if isinstance(error.filename, str) else root
    if error.errno in _FULL:
        return full_error(root)
    hint = ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "use --root with a directory you may write to"
    return StoreError(f"{error.strerror or error}", where=path, hint=hint)


def full_error(where: str) -> StoreError:
    """Return the error of a full disk."""
    return StoreError(
        "the disk is full", where=where, hint="free some space: `ocitool system prune -a`"
    )


def keep_reserve(path: str) -> None:
    """Make the reserve, a file that only takes space, if enough is free."""
    with contextlib.suppress(OSError):  # the store works without it
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
    """Remove the reserve if the disk is full."""
    with contextlib.suppress(OSError):
        state = os.statvfs(os.path.dirname(path))
        # Without what is reserved for root: ext4 counts space there that cannot be used.
        if state.f_bavail * state.f_frsize < _RESERVE:
            os.unlink(path)
