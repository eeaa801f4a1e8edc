"""Reading files without a trace, writing all of a piece, copying with holes; names of files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import BinaryIO, Final

_CHUNK: Final = 1 << 22  # bytes
#: The kernel cannot copy between these two: other file systems, or none that does.
_READ: Final = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM})


def open_noatime(path: str) -> BinaryIO:
    """Open a file for reading, unbuffered; its access time stays where the kernel permits it."""
    return open(path, "rb", buffering=0, opener=_opener)


def read_noatime(path: str) -> bytes:
    """Return the content of a file; its access time stays likewise."""
    with open(path, "rb", opener=_opener) as file:
        return file.read()


def names_in(directory: str) -> list[str]:
    """Return the names in a directory, in any order; an empty list if it is missing."""
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _opener(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:  # only for the owner of the file
        return os.open(path, flags)


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data*: a disk that is nearly full takes a part of it without an error."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_all_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of *data* at *offset*, as `write_all`."""
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        done += os.pwrite(fd, memoryview(data)[done:], offset + done)


def copy_data(source: int, target: int) -> None:
    """Copy the file *source* to the empty file *target*; its holes stay holes."""
    for start, end in _runs(source):
        while start < end:
            start += _copy(source, target, start, min(_CHUNK, end - start))
    os.ftruncate(target, os.fstat(source).st_size)


def _runs(fd: int) -> Iterator[tuple[int, int]]:
    """Yield where a file has data: lseek(2), SEEK_DATA."""
    end = 0
    while True:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data follows
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def _copy(source: int, target: int, offset: int, size: int) -> int:
    try:
        return os.copy_file_range(source, target, size, offset, offset) or size
    except OSError as error:
        if error.errno not in _READ:
            raise
    data = os.pread(source, size, offset)
    write_all_at(target, data, offset)
    return len(data) or size
