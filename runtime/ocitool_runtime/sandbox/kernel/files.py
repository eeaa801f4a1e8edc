"""Files by descriptor, and files of /proc.

Runs in: host process, shim, container init.  Imports only the standard library.
"""

from __future__ import annotations

import os
import select

_SIZE = 1 << 12  # bytes; more than the files of /proc that are read here have


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of *data*: pipes, terminals and nearly full disks take parts of it.

    A descriptor that does not block, as another program may have made a terminal, is waited for.
    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


def mount_id(fd: int, proc: int | None = None) -> int:
    """Return the ID of the mount that *fd* is on (proc(5), /proc/pid/fdinfo).

    *proc* is an open /proc, for a process whose root is another by now.
    """
    path = f"self/fdinfo/{fd}"
    text = _read(f"/proc/{path}") if proc is None else _read(path, proc)
    return int(text.split(b"mnt_id:", 1)[1].split(None, 1)[0])


def status(directory: int) -> dict[bytes, list[bytes]]:
    """Return the fields of ``status`` in an open directory /proc/pid, split at white space."""
    rows = (line.partition(b":") for line in _read("status", directory).split(b"\n"))
    return {name: value.split() for name, _, value in rows}


def unescaped(path: str) -> str:
    """Undo the escapes of a path in mountinfo (proc(5))."""
    for escape, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(escape, char)
    return path


def _read(path: str, directory: int | None = None) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(fd, _SIZE)
    finally:
        os.close(fd)
