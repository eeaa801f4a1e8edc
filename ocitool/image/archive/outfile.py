"""A file that an archive is written to; it gets its name only once it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

from ocitool.errors import NotFound
from ocitool.layer.fileio import write_all

_MODE: Final = 0o600
_DESCRIPTORS: Final = "/proc/self/fd"  # to give a file opened with O_TMPFILE a name: open(2)
#: errors of file systems and kernels without O_TMPFILE, open(2)
_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})


@contextlib.contextmanager
def archive_file(path: str, mode: int = _MODE) -> Iterator[Callable[[bytes], object]]:
    """Yield a function that writes to the file *path*.

    A device or a pipe is written to directly.  An existing file is replaced at the end.  The file
    is private by default (*mode* 0600, as docker's): images may hold secrets.  If the process is
    killed before, nothing is left behind where the file system supports O_TMPFILE.

    Raises:
        NotFound: the file cannot be written.
    """
    with _errors_translated(path):
        target, fd, temporary = _open(path, mode)

    def write(data: bytes) -> None:
        with _errors_translated(path):
            write_all(fd, data)

    try:
        yield write
        with _errors_translated(path):
            temporary = _finish(fd, temporary, target)
    finally:
        os.close(fd)
        if temporary and temporary != target:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


@contextlib.contextmanager
def _errors_translated(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Without its cause: a full disk here is not the disk of the store.
        raise NotFound(f"cannot write the archive: {error.strerror}", where=path) from None


def _open(path: str, mode: int) -> tuple[str, int, str]:
    """Return the target without symlinks, a descriptor to write to, and its temporary name."""
    with contextlib.suppress(FileNotFoundError):
        before = os.stat(path)
        if not stat.S_ISREG(before.st_mode):
            # Not by its real path: /dev/stdout may lead to a pipe, which has none.
            return path, os.open(path, os.O_WRONLY | os.O_CLOEXEC), path
    target = os.path.realpath(path)
    if not os.path.basename(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if os.path.exists(_DESCRIPTORS):
        try:
            return target, os.open(os.path.dirname(target), os.O_TMPFILE | os.O_WRONLY, mode), ""
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
    temporary = _temporary_name(target)
    return target, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), temporary


def _finish(fd: int, temporary: str, target: str) -> str:
    """Rename the temporary file to *target*; returns the name that the file has now."""
    if temporary == target:
        return target
    if not temporary:
        temporary = _temporary_name(target)
        descriptors = os.open(_DESCRIPTORS, os.O_RDONLY)
        try:
            os.link(str(fd), temporary, src_dir_fd=descriptors, follow_symlinks=True)
        finally:
            os.close(descriptors)
    try:
        os.rename(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise
    return target


def _temporary_name(path: str) -> str:
    return f"{path}.{os.urandom(4).hex()}.tmp"
