"""Answers for a program that opens or reads links of /proc, /sys and /dev in a chroot.

The seccomp filter hands such calls to the shim (seccomp_unotify(2)), which reads the path from the
caller's memory, opens the file in its own /proc with the rights of the caller, and hands the
descriptor over.  All other paths go back to the kernel.  This is no boundary, and a caller that
changes its memory meanwhile changes what it is given.  What belongs to no process cannot be
written, as in any other container: a step that sets a sysctl would change the machine's.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select

from ocitool_runtime.sandbox.chroot.calls import Request, elsewhere, request
from ocitool_runtime.sandbox.chroot.lookup import Found, Root, located
from ocitool_runtime.sandbox.chroot.rights import Caller, Rights
from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.notify import seccomp_notify, socketcall
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.notify.stat_layouts import stat_answer
from ocitool_runtime.sandbox.rootfs.devices import NODES

_NODES = frozenset(f"/dev/{name}".encode() for name in NODES)
#: What the shim shows of itself: from a chroot nothing is seen of the mounts it lies on.
_SHIMS = frozenset({b"/proc/self/mounts", b"/proc/self/mountinfo", b"/proc/self/mountstats"})
_AT_SYMLINK_NOFOLLOW = 0x100
_PASSED_ON = ~(os.O_CREAT | os.O_EXCL)
_BUFFERS = {"statx": 2}  # the argument, after the path, with the address for the answer, if not 0


class ProcFiles:
    """Answers the calls of one program and its children, as they come in."""

    def __init__(self, proc: int, root: Root, *, nodes: bool) -> None:
        """*proc* is an open /proc; *nodes* says that /dev has nodes that can be opened."""
        self._proc = proc
        self._root = root
        self._rights = Rights(proc)
        self._poll: select.poll | None = None
        self._nodes = frozenset() if nodes else _NODES
        self._kinds = {
            "open": self._open,
            "readlink": self._read_link,
            "stat": self._stat,
            "lstat": self._stat,
            "fstatat": self._stat,
            "statx": self._statx,
            "access": self._access,
        }

    def serve(self, listener: int) -> bool:
        """Answer the next call on the filter's *listener*; False once no caller is left."""
        if self._poll is None:
            seccomp_notify.wake_at_once(listener)
            self._poll = select.poll()
            self._poll.register(listener, select.POLLIN)
        events = self._poll.poll(0)
        if events and not events[0][1] & select.POLLIN:
            return False
        call = seccomp_notify.receive(listener, self._proc) if events else None
        if call is None:
            return True
        try:
            self._answer(call)
        finally:
            call.close()
        return True

    def _answer(self, call: Call) -> None:
        if call.number == socketcall.SOCKETCALL and call.machine == socketcall.I386:
            socketcall.answer(call)
            return
        try:
            if elsewhere(call):
                raise LeftToKernel
            self._execute(call)
        except LeftToKernel:
            call.leave()
        except OSError as error:
            call.answer(error.errno or errno.EPERM)

    def _execute(self, call: Call) -> None:
        asked = self._request(call)
        path = located(asked.path, self._nodes)
        if path is None:
            raise LeftToKernel
        caller = Caller(call.caller)
        call.check()  # it is the caller that this was read of
        if asked.kind == "readlink" and path == b"/proc/self":
            self._answer_data(call, asked, _cut(asked, caller.process))
            return
        if path not in _SHIMS:
            thread = b"/proc/self/task/" + caller.thread
            path = path.replace(b"/proc/thread-self", thread, 1)
            path = path.replace(b"/proc/self", b"/proc/" + caller.process, 1)
        answer = self._kinds[asked.kind]
        self._rights.take(caller)
        try:
            found = self._root.find(path, follow=_follows(asked))
            try:
                answer(call, asked, found)
            finally:
                found.close()
        finally:
            self._rights.give_back()

    def _request(self, call: Call) -> Request:
        """Read the call's arguments, with the caller's rights if root may not read its memory."""
        try:
            return request(call)
        except PermissionError:
            self._rights.take(Caller(call.caller))
        try:
            return request(call)
        except PermissionError:  # it is not dumpable
            raise LeftToKernel from None
        finally:
            self._rights.give_back()

    def _open(self, call: Call, asked: Request, found: Found) -> None:
        wanted = asked.arguments[0] & 0xFFFFFFFF
        if found.read_only and wanted & (os.O_ACCMODE | os.O_TRUNC):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        # Opening a pipe may block, which would hold every other caller.
        waits = not wanted & (os.O_NONBLOCK | os.O_PATH)
        flags = wanted & _PASSED_ON | os.O_NOCTTY | os.O_CLOEXEC | waits * os.O_NONBLOCK
        if found.in_tree:  # by a link of the shim's
            flags &= ~os.O_NOFOLLOW
        opened = os.open(found.path, flags)
        try:
            if waits:
                fcntl.fcntl(opened, fcntl.F_SETFL, wanted & ~os.O_NONBLOCK)
            call.answer_descriptor(opened, close_on_exec=bool(wanted & os.O_CLOEXEC))
        finally:
            os.close(opened)

    def _read_link(self, call: Call, asked: Request, found: Found) -> None:
        target = os.readlink(b"", dir_fd=found.fd) if found.in_tree else os.readlink(found.path)
        inner = None if found.in_tree else self._root.inside(target)
        self._answer_data(call, asked, _cut(asked, target if inner is None else inner))

    def _stat(self, call: Call, asked: Request, found: Found) -> None:
        status = os.stat(found.path, follow_symlinks=found.in_tree or _follows(asked))
        self._answer_data(call, asked, stat_answer(call.machine, status))

    def _statx(self, call: Call, asked: Request, found: Found) -> None:
        flags, mask = (value & 0xFFFFFFFF for value in asked.arguments[:2])
        if found.in_tree:
            flags &= ~_AT_SYMLINK_NOFOLLOW
        self._answer_data(call, asked, syscalls.statx(found.path, flags, mask))

    def _access(self, call: Call, asked: Request, found: Found) -> None:
        mode = asked.arguments[0] & 7
        if not os.access(found.path, mode, effective_ids=True):
            os.stat(found.path)  # raises that it is missing
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if found.read_only and mode & os.W_OK:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        call.answer()

    def _answer_data(self, call: Call, asked: Request, data: bytes) -> None:
        """Write *data* where the caller wants it, with its rights or else with the shim's."""
        address = asked.arguments[_BUFFERS.get(asked.kind, 0)]
        value = len(data) if asked.kind == "readlink" else 0
        try:
            call.answer_data(address, data, value)
        except OSError:  # it is not dumpable
            self._rights.give_back()
            call.answer_data(address, data, value)


def _cut(asked: Request, target: bytes) -> bytes:
    """Return as much of a link's *target* as the caller has room for."""
    size = asked.arguments[1] & 0xFFFFFFFF
    if not 0 < size < 1 << 31:
        raise LeftToKernel  # EINVAL
    return target[:size]


def _follows(asked: Request) -> bool:
    """Say whether a link at the end of the path is followed."""
    if asked.kind == "open":
        return not asked.arguments[0] & os.O_NOFOLLOW
    if asked.kind in ("fstatat", "statx"):
        flags = asked.arguments[1 if asked.kind == "fstatat" else 0]
        return not flags & _AT_SYMLINK_NOFOLLOW
    return asked.kind not in ("lstat", "readlink")
