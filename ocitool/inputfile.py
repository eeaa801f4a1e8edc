"""Reading whole files that the user names: only regular files, up to a size limit."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from ocitool.errors import FormatError

_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_input_file(
    path: str,
    limit: int,
    *,
    where: str = "",
    hint: str = "",
    open_file: Callable[[str, int], int] = os.open,
) -> bytes:
    """Return the content of *path*; errors get *where* (by default *path*) and *hint*.

    *open_file* gets the path and flags of open(2), and returns a descriptor.

    Raises:
        FormatError: it is a pipe, a socket or a device, or has more than *limit* bytes.
        IsADirectoryError: it is a directory.
        OSError: it cannot be opened or read.
    """
    where = where or path
    try:
        # Without O_NONBLOCK, opening a pipe without a writer would wait forever.
        fd = open_file(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket cannot be opened
            _require_regular(os.stat(path), where, hint)
        raise
    with open(fd, "rb") as file:
        state = os.fstat(fd)
        _require_regular(state, where, hint)
        data = file.read(limit + 1)
    require_small(data, limit, where)
    return data


def require_small(data: bytes, limit: int, where: str) -> None:
    """Refuse *data* of more than *limit* bytes; `FormatError`."""
    if len(data) > limit:
        raise FormatError(f"the file has more than {limit} bytes", where=where)


def _require_regular(state: os.stat_result, where: str, hint: str) -> None:
    kind = stat.S_IFMT(state.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if kind != stat.S_IFREG:
        called = _KINDS.get(kind, "another kind of file")
        raise FormatError(f"expected a regular file, got {called}", where=where, hint=hint)
