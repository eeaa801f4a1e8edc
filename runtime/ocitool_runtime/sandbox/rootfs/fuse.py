"""Overlays that the program fuse-overlayfs serves, for users who cannot mount the kernel's.

The mount is made here and detached, as every other; the program gets the open /dev/fuse and the
directories.  It runs outside of the container's PID namespace, and in a mount namespace of its
own: otherwise it would keep the container's mount namespace alive, and with it its own mount.
When the container's mount namespace ends, for whatever reason, the kernel writes back what is left
and closes the connection, and the program ends.

Runs in: shim.  Imports only the standard library.
Source: fuse-overlayfs(1); libfuse's fuse_session_mount (``/dev/fd/N`` as the mount point); the
kernel's Documentation/filesystems/fuse.rst.
"""

from __future__ import annotations

import errno
import os
import select

from ocitool_runtime.sandbox.kernel import signals, syscalls
from ocitool_runtime.sandbox.kernel.syscalls import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ocitool_runtime.sandbox.protocol.plan import MountPlan

TYPE = "fuse-overlayfs"  # of the mount, and the name of the program
# By default it gives a copied-up file the inode number of the lower one and, where that has a
# second name, shows the old content in the next mount.  With fast_ino the numbers are those of the
# file system below, which are unique as long as all directories are on one file system.
_OPTIONS = "fast_ino=1"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SIGKILL = 9
_SAID = 4096  # bytes
_LAST_WRITES = 60_000  # milliseconds


class FuseServers:
    """The fuse-overlayfs processes of one sandbox."""

    def __init__(self) -> None:
        self._pids: list[int] = []
        self._outside = -1  # the mount namespace of one of the processes
        self._before: set[int] = set()  # descriptors from before the mounts

    def start(self, plans: list[MountPlan]) -> None:
        """Make every mount of *plans* that is of this type, and start a process that serves it.

        Call it in a new mount namespace, and before there is a new PID namespace: the first
        process that is started there would be its init.
        """
        wanted = [plan for plan in plans if plan["type"] == TYPE]
        if wanted:
            self._before = _open_descriptors()
        for plan in wanted:
            plan["served"] = self._serve(plan)

    def end(self) -> None:
        """Wait until every process has written what the sandbox wrote, and has ended.

        The container must have ended.  All descriptors that were opened since `start` are closed,
        and the mount namespace is left: nothing may hold the mounts.
        """
        if self._outside < 0:
            return
        syscalls.join_mounts(self._outside)
        for fd in _open_descriptors() - self._before:
            os.close(fd)
        for pid in self._pids:
            poll = select.poll()
            poll.register(os.pidfd_open(pid), select.POLLIN)
            ended = poll.poll(_LAST_WRITES)
            if not ended:
                os.kill(pid, _SIGKILL)
            os.waitpid(pid, 0)
            if not ended:
                raise Refused(errno.ETIMEDOUT, TYPE, "the last writes may be lost")

    def _serve(self, plan: MountPlan) -> int:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        try:
            mounted = _mount(device, plan["attributes"] | (0 if plan["upper"] else syscalls.RDONLY))
            said = os.memfd_create("said", os.MFD_CLOEXEC)
            pid = os.fork()
            if pid == 0:
                _become(plan, device, said)
        finally:
            os.close(device)
        try:
            os.stat(mounted)  # waits until the process has answered, or has died
        except OSError as error:
            os.kill(pid, _SIGKILL)
            os.waitpid(pid, 0)
            text = os.pread(said, _SAID, 0).decode("utf-8", "replace").strip()
            raise Refused(error.errno or 0, TYPE, f"{TYPE}: {text}") from error
        finally:
            os.close(said)
        self._pids.append(pid)
        if self._outside < 0:
            self._outside = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        return mounted


def _open_descriptors() -> set[int]:
    return {fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_open(fd)}


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:  # the descriptor of the listing itself
        return False
    return True


def _mount(device: int, attributes: int) -> int:
    context = syscalls.fsopen("fuse")
    try:
        for key in ("fd", "rootmode", "user_id", "group_id"):
            value = {"fd": str(device), "rootmode": "40000"}.get(key, "0")
            syscalls.fsconfig(context, key, value)
        for flag in ("allow_other", "default_permissions"):
            syscalls.fsconfig(context, flag)
        return syscalls.fsmount(context, attributes)
    finally:
        os.close(context)


def _become(plan: MountPlan, device: int, said: int) -> NoReturn:
    """Execute fuse-overlayfs; an error is written to *said*, as its own messages are."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for stream, fd in enumerate((null, null, said)):
            os.dup2(fd, stream)
        os.set_inheritable(device, True)
        options = f"{_OPTIONS},lowerdir=" + ":".join(_directory(path) for path in plan["lower"])
        if plan["upper"]:
            options += f",upperdir={_directory(plan['upper'])},workdir={_directory(plan['work'])}"
        signals.reset_signals()
        # As in `ocitool.programs`: what is not absolute would be the caller's working directory.
        given = os.environ.get("PATH", "").split(":")
        path = ":".join(entry for entry in given if entry.startswith("/")) or _PATH
        arguments = [TYPE, "-f", "-o", options, f"/dev/fd/{device}"]
        os.execvpe(TYPE, arguments, {"PATH": path})
    except BaseException as error:  # nothing may unwind into the shim's code
        os.write(said, str(error).encode("utf-8", "replace"))
    finally:
        os._exit(127)


def _directory(path: str) -> str:
    """Return a short name for *path*, without colons and commas."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(fd, True)
    return f"/proc/self/fd/{fd}"
