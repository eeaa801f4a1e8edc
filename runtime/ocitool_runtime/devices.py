"""The container's /dev: a small tmpfs with the nodes of the runtime specification.

The standard library alone: this runs inside the sandbox.
Source: OCI runtime-spec v1.2, config-linux.md, "Default Devices" and "Default Filesystems".
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from ocitool_runtime import mounts, syscalls
from ocitool_runtime.syscalls import NODEV, NOEXEC, NOSUID, Refused

NODES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_TTY_GROUP = "5"  # the group tty wherever there is one
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_TIOCSWINSZ = 0x5414
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Devices:
    """A /dev under construction, beneath the attached tmpfs *fd*."""

    def __init__(self, fd: int, notes: list[str]) -> None:
        self.fd = fd
        self._notes = notes
        self._pts = -1

    @staticmethod
    def make() -> int:
        """Return the file system that is /dev, not yet attached."""
        options: list[tuple[str, str | None]] = [("mode", "0755"), ("size", "64m")]
        return mounts.filesystem("tmpfs", NOSUID, options)

    def fill(self, shm_size: int) -> int:
        """Make nodes, links and the file systems beneath /dev; return /dev/null, proved."""
        for name, number in NODES.items():
            self._node(name, number)
        for name, target in LINKS.items():
            os.symlink(target, name, dir_fd=self.fd)
        self._mount_shm(shm_size)
        self._mount_queue()
        self._mount_pts()
        return self._null()

    def _node(self, name: str, number: tuple[int, int]) -> None:
        """Make a device; where mknod(2) is refused (a user namespace), bind the host's."""
        try:
            os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(*number), dir_fd=self.fd)
            os.chmod(name, 0o666, dir_fd=self.fd)
        except PermissionError:
            source = os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC)
            self._bind(source, name)
            os.close(source)

    def _bind(self, source: int, name: str) -> None:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=self.fd))
        target = os.open(name, _LOOK, dir_fd=self.fd)
        syscalls.move_mount(mounts.clone(source, 0, recursive=False), target, name)
        os.close(target)

    def _place(self, mounted: int, name: str) -> int:
        os.mkdir(name, 0o755, dir_fd=self.fd)
        target = os.open(name, _LOOK, dir_fd=self.fd)
        syscalls.move_mount(mounted, target, name)
        os.close(target)
        return mounted

    def _mount_shm(self, size: int) -> None:
        options: list[tuple[str, str | None]] = [("mode", "1777"), ("size", str(size))]
        self._place(mounts.filesystem("tmpfs", NOSUID | NODEV | NOEXEC, options), "shm")

    def _mount_queue(self) -> None:
        try:
            queue = mounts.filesystem("mqueue", NOSUID | NODEV | NOEXEC, [])
        except Refused as error:
            self._notes.append(f"/dev/mqueue is missing: {error.strerror}")
            return
        self._place(queue, "mqueue")

    def _mount_pts(self) -> None:
        options: list[tuple[str, str | None]] = [("newinstance", None), ("ptmxmode", "0666")]
        options.append(("mode", "0620"))
        try:
            grouped = [*options, ("gid", _TTY_GROUP)]
            mounted = mounts.filesystem("devpts", NOSUID | NOEXEC, grouped)
        except Refused as error:
            if error.errno != errno.EINVAL:
                raise
            # A user namespace without an id 5 has no such group.
            mounted = mounts.filesystem("devpts", NOSUID | NOEXEC, options)
        self._pts = self._place(mounted, "pts")

    def _null(self) -> int:
        null = os.open("null", _LOOK, dir_fd=self.fd)
        found = os.stat(null)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
            raise Refused(errno.ENODEV, "openat", "/dev/null of the host is not the null device")
        return null

    def open_terminal(self, rows: int, columns: int) -> tuple[int, int]:
        """Return (master, slave) of a terminal of the container, bound on /dev/console too."""
        master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=self._pts)
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        # By descriptor: a path of the container's could lead anywhere (TIOCGPTPEER, ioctl_tty(2)).
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        if rows and columns:
            fcntl.ioctl(slave, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._bind(slave, "console")
        return master, slave
