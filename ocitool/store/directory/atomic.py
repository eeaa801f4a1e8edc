"""Small files written atomically."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final

from ocitool.layer.fileio import write_all
from ocitool.layer.locks import is_same, try_lock

_TEMPORARY: Final = ".tmp"


def write_file(path: str, data: bytes) -> None:
    """Write a small file atomically and durably: to a temporary file, synced and renamed.

    The temporary file is locked while its writer is alive (`remove_dead_files`).
    """
    _write_beside(path, data, os.rename)


def write_new_file(path: str, data: bytes) -> None:
    """Do the same if there is no file *path*; one that another process makes meanwhile is kept."""

    def name(temporary: str, path: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        os.unlink(temporary)

    _write_beside(path, data, name)


def _write_beside(path: str, data: bytes, name: Callable[[str, str], None]) -> None:
    temporary, fd = _create_beside(path)
    try:
        write_all(fd, data)
        os.fsync(fd)
        name(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    sync_directory(os.path.dirname(path))


def _create_beside(path: str) -> tuple[str, int]:
    while True:
        temporary = f"{path}.{os.urandom(4).hex()}{_TEMPORARY}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        # A sweeper may have been faster between open and lock.
        if try_lock(fd) and is_same(temporary, fd):
            return temporary, fd
        os.close(fd)


def is_temporary(name: str) -> bool:
    """Say whether `write_file` made the name."""
    return name.endswith(_TEMPORARY)


def remove_dead_files(directory: str, which: Callable[[str], bool] = is_temporary) -> None:
    """Remove files in *directory* that no process has locked, if *which* accepts their names."""
    for name in filter(which, os.listdir(directory)):
        path = f"{directory}/{name}"
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if try_lock(fd) and is_same(path, fd):  # not one that has replaced it
                    os.unlink(path)
            finally:
                os.close(fd)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable (fsync(2))."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(path: str) -> None:
    """Make everything on the file system of *path* durable (syncfs(2))."""
    import ctypes  # 4 ms that few commands need

    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)
