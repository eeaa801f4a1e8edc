"""The container's /dev: a small tmpfs with the nodes of the runtime specification.

A container with CAP_MKNOD can make nodes of the host's disks there.  Where the sandbox's cgroup
filters devices they cannot be opened.  Elsewhere the tmpfs is mounted ``nodev``, and each node is
a bind mount of its own, which `rm` cannot remove.

Runs in: shim.  Imports only the standard library.
Source: OCI runtime-spec v1.2, config-linux.md, "Default Devices" and "Default Filesystems".
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.syscalls import NODEV, NOEXEC, NOSUID, Refused
from ocitool_runtime.sandbox.rootfs import mounts

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


class Terminal:
    """The two descriptors of a pseudoterminal (pty(7))."""

    __slots__ = ("master", "slave")

    def __init__(self, master: int, slave: int) -> None:
        self.master = master
        self.slave = slave

    def close(self) -> None:
        """Close both."""
        os.close(self.master)
        os.close(self.slave)


class Devices:
    """A /dev under construction, beneath the attached tmpfs *fd*."""

    def __init__(self, fd: int, notes: list[str]) -> None:
        self.fd = fd
        self._notes = notes
        self._pts = -1

    @staticmethod
    def make(*, filtered: bool) -> int:
        """Return the detached file system for /dev; with nodes, if they can be opened there.

        Nodes are made where devices are *filtered*, unless a filter of a parent cgroup refuses it.
        """
        options: list[tuple[str, str | None]] = [("mode", "0755"), ("size", "64m")]
        if filtered:
            made = mounts.filesystem("tmpfs", NOSUID, options)
            try:
                _make_nodes(made)
                return made
            except PermissionError:
                os.close(made)
        return mounts.filesystem("tmpfs", NOSUID | NODEV, options)

    def fill(self, shm_size: int) -> int:
        """Make nodes, links and the file systems beneath /dev; return an open /dev/null."""
        if not os.access("null", os.F_OK, dir_fd=self.fd):
            self._bind_nodes()
        for name, target in LINKS.items():
            os.symlink(target, name, dir_fd=self.fd)
        self._mount_shm(shm_size)
        self._mount_queue()
        self._mount_pts()
        return os.open("null", _LOOK, dir_fd=self.fd)

    def _bind_nodes(self) -> None:
        """Bind nodes from a hidden tmpfs, or the host's nodes where none can be made.

        In a user namespace mknod(2) of a device is refused.
        """
        hidden = mounts.filesystem("tmpfs", NOSUID | NOEXEC, [("mode", "0755")])
        syscalls.move_mount(hidden, self.fd)  # only what is attached can be cloned
        try:
            _make_nodes(hidden)
            binds = [(name, _clone(name, hidden)) for name in NODES]
        except PermissionError:
            binds = [(name, _clone(f"/dev/{name}")) for name in NODES]
        syscalls.detach(hidden)
        os.chdir("/")
        os.close(hidden)
        for name, mounted in binds:
            self._bind(mounted, name)

    def _bind(self, mounted: int, name: str) -> None:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=self.fd))
        target = os.open(name, _LOOK, dir_fd=self.fd)
        syscalls.move_mount(mounted, target, name)
        os.close(target)
        os.close(mounted)

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

    def open_terminal(self, rows: int, columns: int) -> Terminal:
        """Return a terminal of the container, bound on /dev/console, too."""
        master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=self._pts)
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        # By descriptor: a path of the container's could lead anywhere (TIOCGPTPEER, ioctl_tty(2)).
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        if rows and columns:
            fcntl.ioctl(slave, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._bind(mounts.clone(slave, 0, recursive=False), "console")
        return Terminal(master, slave)


def _make_nodes(directory: int) -> None:
    for name, number in NODES.items():
        os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(*number), dir_fd=directory)
        os.chmod(name, 0o666, dir_fd=directory)


def _clone(path: str, directory: int | None = None) -> int:
    """Return a bind mount of the node *path*, after checking its device number."""
    source = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.stat(source)
        wanted = os.makedev(*NODES[os.path.basename(path)])
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != wanted:
            raise Refused(errno.ENODEV, "openat", f"{path} of the host is another device")
        return mounts.clone(source, 0, recursive=False)
    finally:
        os.close(source)
