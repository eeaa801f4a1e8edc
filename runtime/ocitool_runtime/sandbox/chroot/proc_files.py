"""Answers for a program that opens or reads links of /proc, /sys and /dev in a chroot.

The seccomp filter hands such calls to the shim (seccomp_unotify(2)), which reads the path from the
caller's memory, opens the file in its own /proc, and hands the descriptor over.  All other paths go
back to the kernel.  The program gets nothing that it could not reach without: this is no boundary,
and a caller that changes its memory meanwhile changes what it is given.

Runs in: shim.  Imports the standard library alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import posixpath
import select

from ocitool_runtime.sandbox import syscalls
from ocitool_runtime.sandbox.chroot.calls import (
    BEGINNINGS,
    Request,
    elsewhere,
    request,
)
from ocitool_runtime.sandbox.files import status
from ocitool_runtime.sandbox.notify import seccomp_notify, socketcall
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.notify.stat_layouts import stat_answer
from ocitool_runtime.sandbox.rootfs.devices import NODES

_STREAMS = {b"/dev/stdin": b"0", b"/dev/stdout": b"1", b"/dev/stderr": b"2"}
_NODES = frozenset(f"/dev/{name}".encode() for name in NODES)
#: What the shim shows of itself: from a chroot nothing is seen of the mounts it lies on.
_SHIMS = frozenset({b"/proc/self/mounts", b"/proc/self/mountinfo", b"/proc/self/mountstats"})
_AT_SYMLINK_NOFOLLOW = 0x100
_PASSED_ON = ~(os.O_CREAT | os.O_EXCL)


class ProcFiles:
    """Answers the calls of one program and its children, as they come in."""

    def __init__(self, proc: int, top: str, *, nodes: bool) -> None:
        """*proc* is an open /proc, *top* the path of the chroot's root.

        *nodes* says that its /dev has nodes that can be opened.
        """
        self._proc = proc
        self._poll: select.poll | None = None
        self._top = os.fsencode(top)
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
        owner = status(call.caller)
        process, thread = owner[b"Tgid"][0], owner[b"Pid"][0]
        if asked.kind == "readlink" and path == b"/proc/self":
            self._answer_link(call, asked, process)
            return
        if path not in _SHIMS:
            path = path.replace(b"/proc/thread-self", b"/proc/self/task/" + thread, 1)
            path = path.replace(b"/proc/self", b"/proc/" + process, 1)
        try:
            syscalls.set_file_ids(int(owner[b"Uid"][3]), int(owner[b"Gid"][3]))
            self._kinds[asked.kind](call, asked, path)
        finally:
            syscalls.set_file_ids(0, 0)

    def _request(self, call: Call) -> Request:
        """Read the call's arguments, with the caller's IDs if root may not read its memory."""
        try:
            return request(call)
        except PermissionError:
            owner = status(call.caller)
        try:
            syscalls.set_file_ids(int(owner[b"Uid"][3]), int(owner[b"Gid"][3]))
            return request(call)
        except PermissionError:  # it is not dumpable
            raise LeftToKernel from None
        finally:
            syscalls.set_file_ids(0, 0)

    def _open(self, call: Call, asked: Request, path: bytes) -> None:
        wanted = asked.arguments[0] & 0xFFFFFFFF
        # Opening a pipe may block, which would hold every other caller.
        waits = not wanted & (os.O_NONBLOCK | os.O_PATH)
        flags = wanted & _PASSED_ON | os.O_NOCTTY | os.O_CLOEXEC | waits * os.O_NONBLOCK
        opened = os.open(path, flags)
        try:
            if waits:
                fcntl.fcntl(opened, fcntl.F_SETFL, wanted & ~os.O_NONBLOCK)
            call.answer_descriptor(opened, close_on_exec=bool(wanted & os.O_CLOEXEC))
        finally:
            os.close(opened)

    def _read_link(self, call: Call, asked: Request, path: bytes) -> None:
        target = os.readlink(path)
        if target == self._top or target.startswith(self._top + b"/"):
            target = target.removeprefix(self._top) or b"/"
        self._answer_link(call, asked, target)

    def _answer_link(self, call: Call, asked: Request, target: bytes) -> None:
        buffer, size = asked.arguments[:2]
        if not 0 < size & 0xFFFFFFFF < 1 << 31:
            raise LeftToKernel  # EINVAL
        target = target[: size & 0xFFFFFFFF]
        call.answer_data(buffer, target, len(target))

    def _stat(self, call: Call, asked: Request, path: bytes) -> None:
        flags = asked.arguments[1] if asked.kind == "fstatat" else 0
        follow = asked.kind != "lstat" and not flags & _AT_SYMLINK_NOFOLLOW
        answer = stat_answer(call.machine, os.stat(path, follow_symlinks=follow))
        call.answer_data(asked.arguments[0], answer)

    def _statx(self, call: Call, asked: Request, path: bytes) -> None:
        flags, mask, buffer = asked.arguments[:3]
        call.answer_data(buffer, syscalls.statx(path, flags & 0xFFFFFFFF, mask & 0xFFFFFFFF))

    def _access(self, call: Call, asked: Request, path: bytes) -> None:
        if not os.access(path, asked.arguments[0] & 7, effective_ids=True):
            os.stat(path)  # raises that it is missing
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        call.answer()


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
    if plain in nodes or plain.split(b"/")[1] in (b"proc", b"sys"):
        return plain
    return None
