"""File-system calls beneath one directory descriptor; nothing here ever leaves it.

A path is opened by ``openat2``, and by walking its components where the kernel has no openat2
(before 5.6) or a seccomp filter hides it.  No link is ever followed, not even one that stays
inside.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, Self

from ocitool.errors import UnsafePath

_OPENAT2: Final = 437  # the same number on every architecture
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CACHED: Final = 128  # descriptors


class Root:
    """A directory tree, by the descriptor of its top."""

    def __init__(self, path: str) -> None:
        # The top itself must be a real directory (umoci CVE-2021-29136).
        self.fd = os.open(path, _FLAGS | os.O_NOFOLLOW)
        self._open: OrderedDict[str, int] = OrderedDict()
        self._openat2 = True
        self._last: tuple[str, int] = ("", self.fd)

    def directory(self, path: str) -> int:
        """Return a descriptor of the directory *path*; it stays valid until the next call.

        Raises:
            UnsafePath: the path leads out of the tree.
            FileNotFoundError: it is not there.
            NotADirectoryError: it is a file, or a link is on the way.
        """
        last, fd = self._last
        if path == last:
            return fd
        if not path:
            return self.fd
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            fd = known
        else:
            fd = self._open[path] = self._resolve(path)
            if len(self._open) > _CACHED:
                os.close(self._open.popitem(last=False)[1])
        self._last = path, fd
        return fd

    def forget(self, path: str) -> None:
        """Drop what is known of *path* and below, after it was removed or replaced."""
        self._last = "", self.fd
        below = path + "/"
        for known in [key for key in self._open if key == path or key.startswith(below)]:
            os.close(self._open.pop(known))

    def close(self) -> None:
        """Close every descriptor."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _resolve(self, path: str) -> int:
        if self._openat2:
            try:
                return _openat2(self.fd, path, _FLAGS)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise UnsafePath("a symlink points outside of the tree", where=path) from None
                if error.errno == errno.ELOOP:
                    raise _not_a_directory(path) from None
                if error.errno not in (errno.ENOSYS, errno.EPERM):
                    raise
                self._openat2 = False
        return _walk(self.fd, path, _FLAGS)


def open_beneath(top: int, path: str, flags: int) -> int:
    """Open *path* beneath the directory *top* as open(2); a link in it, or as its end, is refused.

    With O_PATH and O_NOFOLLOW the end may be one, which is opened itself.
    """
    try:
        return _openat2(top, path, flags)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return _walk(top, path, flags)


@cache
def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _not_a_directory(path: str) -> OSError:
    return NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def _openat2(fd: int, path: str, flags: int) -> int:
    how = struct.pack("QQQ", flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS)
    import ctypes  # 4 ms that a command which unpacks nothing does not spend

    result: int = _libc().syscall(_OPENAT2, fd, os.fsencode(path), how, len(how))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def _walk(top: int, path: str, flags: int) -> int:
    """Open *path* component by component."""
    *names, last = path.split("/")
    fd = os.dup(top)
    for name, how in (*((each, _FLAGS) for each in names), (last, flags)):
        try:
            below = os.open(name, how | os.O_NOFOLLOW, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


class Descent:
    """A way down a tree and back up, of any depth: one descriptor is open, that of a directory.

    No link is followed.  FileNotFoundError means that a directory was moved or removed meanwhile.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd  # closed by `enter`, `leave` and `close`
        self._above: list[os.stat_result] = []

    def enter(self, fd: int) -> None:
        """Go down to *fd*, a directory in that of ``fd``."""
        self._above.append(os.fstat(self.fd))
        os.close(self.fd)
        self.fd = fd

    def leave(self) -> None:
        """Go back up."""
        fd = os.open("..", _FLAGS, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = fd
        if not os.path.samestat(self._above.pop(), os.fstat(fd)):
            raise FileNotFoundError(errno.ENOENT, "a directory was moved")

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


def walk(path: str) -> Iterator[os.stat_result]:
    """Yield the state of all that is below the directory *path*, of any depth.

    What is removed meanwhile may be left out.
    """
    descent = Descent(os.open(path, _FLAGS | os.O_NOFOLLOW))
    try:
        todo = [_scan(descent.fd)]
        while todo:
            if not todo[-1]:
                todo.pop()
                if todo:
                    descent.leave()
                continue
            name, state = todo[-1].pop()
            yield state
            if stat.S_ISDIR(state.st_mode):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    descent.enter(os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=descent.fd))
                    todo.append(_scan(descent.fd))
    except FileNotFoundError:
        return
    finally:
        descent.close()


def _scan(fd: int) -> list[tuple[str, os.stat_result]]:
    found = []
    with os.scandir(fd) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                found.append((entry.name, entry.stat(follow_symlinks=False)))
    return found


def remove_tree(name: str, *, dir_fd: int | None = None) -> None:
    """Remove a file or a whole tree, whatever its modes and depth; what is gone already is fine.

    Descends by descriptors and follows no link, so nothing outside can be reached; a directory is
    not removed from within.  Several may remove the same tree at once.
    """
    if name in (".", ".."):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
    try:
        os.unlink(name, dir_fd=dir_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.lstat(name, dir_fd=dir_fd).st_mode):
            raise
    # If a directory on the way back is gone, the process that removed it removes the rest, too.
    with contextlib.suppress(FileNotFoundError):
        descent = Descent(_open_for_removal(name, dir_fd))
        try:
            _empty(descent)
        finally:
            descent.close()
        os.rmdir(name, dir_fd=dir_fd)


def _empty(descent: Descent) -> None:
    names: list[str] = []  # of the directories above, each in the one before
    todo = [_unlink_files(descent.fd)]
    while True:
        if todo[-1]:
            child = todo[-1].pop()
            with contextlib.suppress(FileNotFoundError):
                descent.enter(_open_for_removal(child, descent.fd))
                names.append(child)
                todo.append(_unlink_files(descent.fd))
        elif names:
            todo.pop()
            descent.leave()
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(names.pop(), dir_fd=descent.fd)
        else:
            return


def _unlink_files(fd: int) -> list[str]:
    """Remove all files of a directory, and return the names of the directories in it."""
    with os.scandir(fd) as entries:
        listing = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in listing:
        if not is_directory:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
    return [name for name, is_directory in listing if is_directory]


def _open_for_removal(name: str, dir_fd: int | None) -> int:
    flags = _FLAGS | os.O_NOFOLLOW
    try:
        fd = os.open(name, flags, dir_fd=dir_fd)
        if os.fstat(fd).st_mode & 0o300 != 0o300:
            os.fchmod(fd, 0o700)
    except PermissionError:  # overlay's work/work is 0000, images hold 0555
        os.chmod(name, 0o700, dir_fd=dir_fd)
        fd = os.open(name, flags, dir_fd=dir_fd)
    return fd
