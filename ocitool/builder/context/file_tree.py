"""The files below a directory that somebody else may change at any time.

Between two system calls a directory may become a symbolic link.  So the kernel resolves each path
in one call, from the descriptor of the directory, and refuses links on the way.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

from ocitool.layer.beneath import open_beneath

#: A named pipe that has taken the place of a file is not waited for.
READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STATE: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class FileTree:
    """The tree *top*, a path without links; paths in it are relative, ``""`` is the top itself.

    An OSError names the whole path.
    """

    def __init__(self, top: str) -> None:
        self.top = top
        self._fd = -1  # opened when it is needed

    def host_path(self, path: str) -> str:
        """Return what messages call *path*."""
        return f"{self.top}/{path}" if path else self.top

    def open(self, path: str, flags: int = READ) -> int:
        """Open *path*; a link is refused, also as the last component."""
        try:
            if self._fd < 0:
                self._fd = os.open(self.top, DIRECTORY)
            return open_beneath(self._fd, path or ".", flags)
        except OSError as error:
            error.filename = self.host_path(path)
            raise

    @contextlib.contextmanager
    def opened(self, path: str, flags: int = READ) -> Iterator[int]:
        """Open *path* within the block."""
        fd = self.open(path, flags)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def reader(self) -> Iterator[Callable[[str], int]]:
        """Yield what opens files as `open` does, faster if they come by directory.

        The directory of the last one is open meanwhile, so it is not for longer than a step.
        """
        here, at = "/", -1  # no directory in the tree has that name

        def open_file(path: str) -> int:
            nonlocal here, at
            directory, _, name = path.rpartition("/")
            if directory != here:
                before, here = at, "/"
                at = self.open(directory, DIRECTORY)
                here = directory
                if before >= 0:
                    os.close(before)
            try:
                return os.open(name, READ, dir_fd=at)
            except OSError as error:
                error.filename = self.host_path(path)
                raise

        try:
            yield open_file
        finally:
            if at >= 0:
                os.close(at)

    def state(self, path: str) -> os.stat_result:
        """Return what lstat(2) says of *path*."""
        with self.opened(path, _STATE) as fd:
            return os.fstat(fd)

    def is_directory(self, path: str) -> bool:
        """Say whether *path* is a directory, and no link to one."""
        return stat.S_ISDIR(self.state(path).st_mode)

    def names(self, directory: str) -> list[str]:
        """Return the names in *directory*."""
        with self.opened(directory, DIRECTORY) as fd:
            return os.listdir(fd)

    def listing(self, directory: str) -> list[tuple[str, os.stat_result]]:
        """Return the names in *directory*, each with what lstat(2) says of it."""
        found, name = [], ""
        with self.opened(directory, DIRECTORY) as fd:
            try:
                for name in os.listdir(fd):
                    found.append((name, os.lstat(name, dir_fd=fd)))
            except OSError as error:
                error.filename = self.host_path(f"{directory}/{name}".lstrip("/"))
                raise
        return found

    def readlink(self, path: str) -> str:
        """Return the target of the link *path*; ``""`` if it is something else."""
        with self.opened(path, _STATE) as fd:
            return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else ""

    def close(self) -> None:
        """Close the descriptor; the next call opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
