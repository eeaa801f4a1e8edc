"""Mount points in an untrusted root file system: opened, made if missing, and removed again.

Every path is walked one component at a time on descriptors, links are read and resolved here,
and ``..`` ends at the root: an image whose ``/etc/resolv.conf`` is a link to ``/etc/shadow``
names its own file.  No process of the container runs yet.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import os
import stat

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.files import mount_id
from ocitool_runtime.sandbox.kernel.syscalls import Refused

_LINKS = 40  # as the kernel's MAXSYMLINKS
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class MadePoint:
    """A mount point that was made here, and what removing it without a trace takes."""

    __slots__ = ("after", "before", "identity", "name", "parent")

    def __init__(self, parent: int, name: str, before: os.stat_result) -> None:
        self.parent = os.dup(parent)
        self.name = name
        self.before = before
        self.after = os.stat(parent).st_mtime_ns
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        self.identity = (found.st_dev, found.st_ino)

    def remove(self, *, mounted: bool) -> None:
        """Unmount and remove it if it is unchanged and empty, and restore the directory's times.

        Removing it by its name alone could delete what a container has put there
        (CVE-2024-23652).
        """
        if mounted:
            syscalls.unmount(self.parent, self.name)
        found = os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)
        if (found.st_dev, found.st_ino) != self.identity:
            return
        untouched = os.stat(self.parent).st_mtime_ns == self.after
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(self.name, dir_fd=self.parent)
        elif found.st_size == 0:
            os.unlink(self.name, dir_fd=self.parent)
        else:
            return
        if untouched:
            times = (self.before.st_atime_ns, self.before.st_mtime_ns)
            opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.parent)
            os.utime(opened, ns=times)
            os.close(opened)


class MountPoints:
    """The mount points below *root*, an open directory that is not closed here.

    With *mounting* false nothing is mounted: what is opened gets files instead.
    """

    def __init__(self, root: int, *, mounting: bool = True) -> None:
        self.root = root
        self._mounting = mounting
        self._mount = mount_id(root)
        self._made: list[MadePoint] = []
        self._closed: set[tuple[int, int]] = set()

    def close_off(self, fd: int) -> None:
        """Refuse later paths into the directory *fd*: nothing may be mounted in /proc."""
        found = os.stat(fd)
        self._closed.add((found.st_dev, found.st_ino))

    def plain(self, name: str) -> int:
        """Open or make the directory *name* of the root, which must not be a link.

        An image may have ``/dev -> ..``; nothing may be mounted through that (CVE-2026-41579).
        """
        found = self._step(self.root, name, directory=True)
        if not stat.S_ISDIR(os.stat(found).st_mode):
            raise Refused(errno.ENOTDIR, "openat", f"/{name} of the image")
        return found

    def open(self, path: str, *, directory: bool, keep: bool = False) -> int:
        """Return an O_PATH descriptor of *path*, made as a directory or empty file if missing.

        With *keep* what is made stays.  Raises OSError: EXDEV for a path into a
        directory that was closed off, ELOOP, ENOTDIR.
        """
        made = len(self._made)
        stack = [os.dup(self.root)]
        try:
            self._walk_named(stack, path, directory=directory)
            if keep:
                del self._made[made:]
            return stack.pop()
        finally:
            for fd in stack:
                os.close(fd)

    def make(self, path: str) -> list[tuple[int, str]]:
        """Make the missing directories of *path*, which stay; raises the errors of `open`.

        Returns the open parent directory and the name of each, outermost first.
        """
        before = len(self._made)
        os.close(self.open(path, directory=True))
        made = self._made[before:]
        del self._made[before:]
        return [(each.parent, each.name) for each in made]

    def open_parent(self, path: str) -> tuple[int, str]:
        """Open the directory of what *path* leads to, made if missing; return also its name there.

        Raises OSError as `open` does.
        """
        target = path
        for _ in range(_LINKS):
            above, _, name = target.rstrip("/").rpartition("/")
            found = self.open(above, directory=True)
            parent = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=found)
            os.close(found)
            try:
                link = os.readlink(name, dir_fd=parent)
            except OSError:  # not a link, or missing
                self._refuse_closed(parent, name, path)
                return parent, name
            if link.rstrip("/").rpartition("/")[2] in ("", ".", ".."):
                return parent, name  # a directory has no such name, and stays where it is
            os.close(parent)
            target = link if link.startswith("/") else f"{above}/{link}"
        raise Refused(errno.ELOOP, "openat", path)

    def _refuse_closed(self, parent: int, name: str, path: str) -> None:
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if (found.st_dev, found.st_ino) in self._closed:
            os.close(parent)
            raise Refused(errno.EXDEV, "openat", path)

    def _walk_named(self, stack: list[int], path: str, *, directory: bool) -> None:
        try:
            self._walk(stack, path, directory=directory)
        except OSError as error:
            error.filename = path  # and not the one name in it that was looked at
            raise

    def _walk(self, stack: list[int], path: str, *, directory: bool) -> None:
        """Put the descriptors from the root down to *path* on *stack*."""
        rest = path.split("/")[::-1]
        links = 0
        while rest:
            name = rest.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            last = not any(part not in ("", ".") for part in rest)
            fd = self._step(stack[-1], name, directory=directory or not last)
            found = os.stat(fd)
            if stat.S_ISLNK(found.st_mode):
                links += 1
                target = os.readlink("", dir_fd=fd)
                os.close(fd)
                if links > _LINKS:
                    raise Refused(errno.ELOOP, "openat", path)
                if target.startswith("/"):
                    while len(stack) > 1:
                        os.close(stack.pop())
                rest += target.split("/")[::-1]
                continue
            stack.append(fd)
            if (found.st_dev, found.st_ino) in self._closed:
                raise Refused(errno.EXDEV, "openat", path)
            if not last and not stat.S_ISDIR(found.st_mode):
                raise Refused(errno.ENOTDIR, "openat", path)

    def _step(self, parent: int, name: str, *, directory: bool) -> int:
        try:
            return os.open(name, _LOOK, dir_fd=parent)
        except FileNotFoundError:
            pass
        before = os.stat(parent)
        if directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=parent))
        # A mount point in a volume stays: another container may use it by now.
        if mount_id(parent) == self._mount:
            self._made.append(MadePoint(parent, name, before))
        return os.open(name, _LOOK, dir_fd=parent)

    def clean(self) -> None:
        """Remove what was made, the last first, unless the container has changed it."""
        for made in reversed(self._made):
            try:
                made.remove(mounted=self._mounting)
            except OSError:  # gone, not empty, or read-only: then there is nothing to undo
                continue
