"""The archive that a command writes: it has its name when it is whole, and not before."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import Final

import click

from ocitool.errors import NotFound
from ocitool.layer.files import write_all

_UNNAMED: Final = "/proc/self/fd"  # where a file without a name can be given one, open(2)
_CANNOT: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})  # be without a name here


@contextlib.contextmanager
def archive_to(path: str | None) -> Iterator[Callable[[bytes], object]]:
    """Give what writes to the file *path*, or to stdout for None and ``-``, but to no terminal.

    A device or a pipe is written to as it is.  A file that is there is replaced at the end; who
    is killed before leaves nothing behind, where the file system has files without a name.

    Raises:
        NotFound: it cannot be written.
    """
    if path is None or path == "-":
        if sys.stdout.isatty():
            raise click.UsageError("a terminal is no place for an archive: use -o, or redirect")
        yield sys.stdout.buffer.write
        return
    with _naming(path):
        target, fd, temporary = _open(path)

    def write(data: bytes) -> None:
        with _naming(path):
            write_all(fd, data)

    try:
        yield write
        with _naming(path):
            temporary = _finish(fd, temporary, target)
    finally:
        os.close(fd)
        if temporary and temporary != target:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Of its own: it is not the store's disk that may be full.
        raise NotFound(f"cannot be written: {error.strerror}", where=path) from None


def _open(path: str) -> tuple[str, int, str]:
    """Return the file *path* without links, a descriptor to write to, and its name meanwhile."""
    mode = 0o666
    with contextlib.suppress(FileNotFoundError):
        before = os.stat(path)
        if not stat.S_ISREG(before.st_mode):
            # By this name: /dev/stdout leads to a pipe, which has none.
            return path, os.open(path, os.O_WRONLY | os.O_CLOEXEC), path
        mode = 0o600  # nobody else may read it before it has the mode of what it replaces
    target = os.path.realpath(path)
    if not os.path.basename(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if os.path.exists(_UNNAMED):
        try:
            return target, os.open(os.path.dirname(target), os.O_TMPFILE | os.O_WRONLY, mode), ""
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
    temporary = _beside(target)
    return target, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), temporary


def _finish(fd: int, temporary: str, target: str) -> str:
    """Give what is written its name; returns it."""
    if temporary == target:
        return target
    if not temporary:
        temporary = _beside(target)
        descriptors = os.open(_UNNAMED, os.O_RDONLY)
        try:
            os.link(str(fd), temporary, src_dir_fd=descriptors, follow_symlinks=True)
        finally:
            os.close(descriptors)
    try:
        with contextlib.suppress(FileNotFoundError):
            _be_like(fd, os.stat(target))
        os.rename(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise
    return target


def _be_like(fd: int, other: os.stat_result) -> None:
    """Take the mode of the file that is replaced, and its owner if that is allowed."""
    with contextlib.suppress(PermissionError):
        os.fchown(fd, other.st_uid, other.st_gid)
    os.fchmod(fd, stat.S_IMODE(other.st_mode))


def _beside(path: str) -> str:
    return f"{path}.{os.urandom(4).hex()}.tmp"
