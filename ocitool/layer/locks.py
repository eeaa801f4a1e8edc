"""Locks that show which processes are alive: the kernel releases them with the process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator

from ocitool.layer.beneath import remove_tree


def try_lock(fd: int) -> bool:
    """Take the lock of an open file or directory if no process has it (flock(2))."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def make_locked(make: Callable[[], str]) -> tuple[str, int]:
    """Lock the directory that *make* makes; returns its path, and the descriptor with the lock.

    A process that removes unlocked directories may be faster; then *make* is called again.
    """
    while True:
        path = make()
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if try_lock(fd) and is_same(path, fd):
            return path, fd
        os.close(fd)


def is_locked(directory: str) -> bool:
    """Say whether a process has locked *directory*; False if it does not exist."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)


def is_same(path: str, fd: int) -> bool:
    """Say whether *path* is still the file that is open as *fd*."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def temporary_directory(top: str, prefix: str) -> Iterator[str]:
    """Yield a new directory in *top*, whose name begins with *prefix*; it is removed afterwards.

    If the process is killed, the next one of the same user that makes such a directory removes it.
    """
    from tempfile import mkdtemp  # slow to import, rarely needed

    _remove_dead(top, prefix)
    path, fd = make_locked(lambda: mkdtemp(prefix=prefix, dir=top))
    try:
        yield path
    finally:
        remove_tree(path)
        os.close(fd)


def _remove_dead(top: str, prefix: str) -> None:
    """Remove the directories of this user that no process has locked; others may write to *top*."""
    try:
        names = os.listdir(top)
    except PermissionError:  # a directory that may only be written to
        return
    for name in names:
        if not name.startswith(prefix):
            continue
        path = f"{top}/{name}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # it is another user's, or not a directory, or removed
            continue
        try:
            if os.fstat(fd).st_uid == os.geteuid() and try_lock(fd) and is_same(path, fd):
                with contextlib.suppress(OSError):  # it only wastes space
                    remove_tree(path)
        finally:
            os.close(fd)
