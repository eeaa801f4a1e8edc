"""chown(2) and mknod(2) in single-ID mode, answered by the shim.

The kernel has no other owner there and makes no devices, so the seccomp filter hands these calls to
the shim (seccomp_unotify(2)), which records the owner and the device in ownership override xattrs
(`ownership`).  The program is not trusted.  The kernel looks its paths up from its own root and
working directory, without magic links, into a descriptor, and only files on the mount of the
container's root are changed: no volume, no /proc.  All other calls go back to the kernel, which
executes them with the program's own rights.  A program that changes a path or its memory meanwhile
can only have another file of its own container changed, which it could have asked for directly.

Runs in: shim.  Imports the standard library alone.
"""

from __future__ import annotations

import _thread
import errno
import os
import select
import stat

from ocitool_runtime.sandbox import syscalls
from ocitool_runtime.sandbox.files import mount_id, status
from ocitool_runtime.sandbox.notify import ownership, seccomp_notify
from ocitool_runtime.sandbox.notify.request import UNCHANGED, Request, split
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel

_LOOK = os.O_PATH | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class OwnershipHandler:
    """Answers in a thread of its own, so that a slow caller blocks nothing else.

    The thread is started before unshare(2) of the PID namespace, after which none can be.
    """

    def __init__(self) -> None:
        self._proc = seccomp_notify.open_proc()
        self._listener = self._root = -1
        self._mount = -1
        self._begun = _thread.allocate_lock()
        self._begun.acquire()
        _thread.start_new_thread(self._serve, ())

    def begin(self, listener: int, root: int) -> None:
        """Answer what comes from the filter's descriptor; *root* is the container's root."""
        self._listener, self._root = listener, root
        self._mount = mount_id(root, self._proc)
        self._begun.release()

    def _serve(self) -> None:
        self._begun.acquire()
        try:
            syscalls.unshare(syscalls.CLONE_FS)  # a root and a working directory of its own
            poll = select.poll()
            poll.register(self._listener, select.POLLIN)
            while poll.poll()[0][1] & select.POLLIN:
                self._answer()
        finally:  # no caller is left, or after an error none may wait for an answer
            os.close(self._listener)

    def _answer(self) -> None:
        call = seccomp_notify.receive(self._listener, self._proc)
        if call is None:
            return
        try:
            self._execute(call)
            call.answer()
        except LeftToKernel:
            call.leave()
        except OSError as error:
            call.answer(error.errno or errno.EPERM)
        finally:
            call.close()

    def _execute(self, call: Call) -> None:
        call.check()
        request = Request(call.machine, call.number, call.arguments, call.caller)
        call.check()
        if request.makes:
            self._make_device(request, call.caller)
        else:
            self._change_owner(request, call.caller)

    # -- the calls --------------------------------------------------------------------------

    def _change_owner(self, request: Request, caller: int) -> None:
        if request.uid == request.gid == UNCHANGED:
            raise LeftToKernel
        fd = self._find(request, caller, request.path, follow=request.follow)
        try:
            state = os.stat(fd)
            if stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode):
                self._give(fd, request)
            elif stat.S_ISLNK(state.st_mode) or stat.S_ISFIFO(state.st_mode):
                self._give_child(request, caller, state)
            else:
                raise LeftToKernel
        finally:
            os.close(fd)

    def _give(self, fd: int, request: Request) -> None:
        # A real chown: the kernel clears setuid and file capabilities, and copies up.
        os.chown(f"self/fd/{fd}", 0, 0, dir_fd=self._proc)
        opened = os.open(f"self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC,
                         dir_fd=self._proc)  # fmt: skip
        try:
            ownership.give(opened, request.uid, request.gid)
        finally:
            os.close(opened)

    def _give_child(self, request: Request, caller: int, state: os.stat_result) -> None:
        parent, name = split(request.path)
        directory = self._find(request, caller, parent, follow=True, directory=True)
        try:
            if not name or not os.path.samestat(_lstat(name, directory), state):
                raise LeftToKernel  # reached through a link: its own directory is not known
            os.chown(name, 0, 0, dir_fd=directory, follow_symlinks=False)
            mtime = _lstat(name, directory).st_mtime_ns
            opened = os.open(f"self/fd/{directory}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC,
                             dir_fd=self._proc)  # fmt: skip
            try:
                ownership.give_child(opened, name, mtime, request.uid, request.gid)
            finally:
                os.close(opened)
        finally:
            os.close(directory)

    def _make_device(self, request: Request, caller: int) -> None:
        kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(request.mode))
        parent, name = split(request.path)
        if kind is None or not request.device or not name:  # everybody may make 0:0, a whiteout
            raise LeftToKernel
        mode = request.mode & 0o7777 & ~int(status(caller)[b"Umask"][0], 8)
        directory = self._find(request, caller, parent, follow=True, directory=True)
        try:
            fd = os.open(name, _NEW, 0o600, dir_fd=directory)
        finally:
            os.close(directory)
        try:
            os.fchmod(fd, mode)
            ownership.make_device(fd, kind, os.major(request.device), os.minor(request.device))
        finally:
            os.close(fd)

    # -- lookups ----------------------------------------------------------------------------

    def _find(
        self, request: Request, caller: int, path: bytes, *, follow: bool, directory: bool = False
    ) -> int:
        """Open *path* as the caller would; `LeftToKernel` if it is not on the container's root."""
        flags = _LOOK | (0 if follow else os.O_NOFOLLOW) | (os.O_DIRECTORY if directory else 0)
        try:
            fd = self._look_up(caller, request.start, path, flags)
        except OSError:
            raise LeftToKernel from None
        try:
            if mount_id(fd, self._proc) != self._mount:
                raise LeftToKernel
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _look_up(self, caller: int, start: str, path: bytes, flags: int) -> int:
        if not path:
            return os.open(start, _LOOK, dir_fd=caller)
        root = os.open("root", _LOOK | os.O_DIRECTORY, dir_fd=caller)
        try:
            start = "root" if path.startswith(b"/") else start  # then no descriptor counts
            here = os.open(start, _LOOK | os.O_DIRECTORY, dir_fd=caller)
            try:
                os.fchdir(root)
                os.chroot(".")
                os.fchdir(here)
                return syscalls.open_here(path, flags)
            finally:
                os.close(here)
                os.fchdir(self._root)
                os.chroot(".")
        finally:
            os.close(root)


def _lstat(name: bytes, directory: int) -> os.stat_result:
    return os.lstat(name, dir_fd=directory)
