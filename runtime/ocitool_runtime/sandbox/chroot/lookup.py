"""What a path of the chroot stands for: a file of the machine's /proc, /sys or /dev, or none.

Such a path may lead on, through a link to a directory of a process: ``/proc/self/cwd/file``.  That
is looked up in the tree, as the kernel would do it for the program: in the shim, whose root is
another, a link of the image would lead to a file of the machine.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import os
import posixpath

from ocitool_runtime.sandbox.chroot.calls import BEGINNINGS
from ocitool_runtime.sandbox.kernel import syscalls

_STREAMS = {b"/dev/stdin": b"0", b"/dev/stdout": b"1", b"/dev/stderr": b"2"}
_LINKS = 40  # as the kernel's MAXSYMLINKS
_MACHINE = (b"proc", b"sys")


class Found:
    """A path of the machine's, or that of a file of the tree, which is open until `close`."""

    __slots__ = ("fd", "path")

    def __init__(self, path: bytes, fd: int = -1) -> None:
        self.path = path
        self.fd = fd

    @property
    def in_tree(self) -> bool:
        """Whether it is open, so that following the path follows no link of the tree."""
        return self.fd >= 0

    @property
    def read_only(self) -> bool:
        """Whether it is the machine's and no process's: read-only in every other container, too."""
        parts = self.path.split(b"/")
        return parts[1] == b"sys" or (parts[1] == b"proc" and not _is_process(parts[2:3]))

    def close(self) -> None:
        """Close the file of the tree."""
        if self.fd >= 0:
            os.close(self.fd)


def located(path: bytes, nodes: frozenset[bytes] = frozenset()) -> bytes | None:
    """Return the path of the machine's that *path* of a chroot stands for; None: the tree's own."""
    if not path.startswith(BEGINNINGS):
        return None
    plain = b"/" + posixpath.normpath(path).lstrip(b"/")
    if path.endswith(b"/"):
        plain += b"/"
    if plain in _STREAMS:
        return b"/proc/self/fd/" + _STREAMS[plain]
    if plain == b"/dev/fd" or plain.startswith(b"/dev/fd/"):
        return b"/proc/self" + plain.removeprefix(b"/dev")
    if plain in nodes or plain.split(b"/")[1] in _MACHINE:
        return plain
    return None


class Root:
    """The program's root: its path, and its open directory."""

    __slots__ = ("_own", "fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = os.fsencode(path)
        self.fd = fd
        self._own = b"/proc/%d/" % os.getpid()

    def inside(self, path: bytes) -> bytes | None:
        """Return *path* as the program sees it; None if it is outside of the tree."""
        if path == self.path or path.startswith(self.path + b"/"):
            return path.removeprefix(self.path) or b"/"
        return None

    def find(self, path: bytes, *, follow: bool) -> Found:
        """Return what the machine's *path* leads to, with the rights of this thread.

        PermissionError if it leads on through a directory that is not of the tree, or to a file of
        this process: to itself everybody has access.
        """
        for _ in range(_LINKS):
            if path.startswith(self._own):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            link, rest = _split(path)
            if not rest:
                return Found(path)
            target = os.readlink(link)
            if (inner := self.inside(target)) is not None:
                flags = 0 if follow else os.O_NOFOLLOW
                inner = inner.rstrip(b"/") + b"/" + rest
                fd = syscalls.open_in_root(self.fd, os.fsdecode(inner), flags)
                return Found(b"/proc/self/fd/%d" % fd, fd)
            path = posixpath.normpath(target + b"/" + rest)
            if path.split(b"/")[1:2] not in ([each] for each in _MACHINE):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _split(path: bytes) -> tuple[bytes, bytes]:
    """Return the link to a directory of a process that *path* leads through, and what follows."""
    parts = path.split(b"/")
    if parts[1] != b"proc" or not _is_process(parts[2:3]):
        return path, b""
    end = 5 if parts[3:4] == [b"task"] else 3
    if parts[end : end + 1] in ([b"cwd"], [b"root"]):
        end += 1
    elif parts[end : end + 1] == [b"fd"]:
        end += 2
    else:
        return path, b""
    return b"/".join(parts[:end]), b"/".join(parts[end:])


def _is_process(names: list[bytes]) -> bool:
    return bool(names) and (names[0].isdigit() or names[0] in (b"self", b"thread-self"))
