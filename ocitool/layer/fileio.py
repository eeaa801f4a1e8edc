"""Reading files without a trace, and writing all of a piece."""

from __future__ import annotations

import os
from typing import BinaryIO


def open_noatime(path: str) -> BinaryIO:
    """Open a file for reading, unbuffered; its access time stays where the kernel permits it."""
    return open(path, "rb", buffering=0, opener=_opener)


def read_noatime(path: str) -> bytes:
    """Return the content of a file; its access time stays likewise."""
    with open(path, "rb", opener=_opener) as file:
        return file.read()


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
