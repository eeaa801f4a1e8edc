"""socketcall(2) of i386 programs, which hides the address family behind a pointer.

A seccomp filter cannot read it, so ``socketcall(SYS_SOCKET, ...)`` could open families that are
refused for ``socket``.  Refusing the call would leave 32-bit programs without a network, because
their C library uses no other call.  So the shim reads the family once and makes the socket itself:
what the caller writes there afterwards has no effect.  It makes only sockets that need no
privilege, in the container's network namespace and with the caller's IDs.

Runs in: shim.  Imports only the standard library.
Source: socketcall(2); socket(2); seccomp_unotify(2), "BUGS" on time of check.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import struct

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.files import status
from ocitool_runtime.sandbox.notify import seccomp_notify
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel

I386, SOCKETCALL = 0x40000003, 102
_SYS_SOCKET = 1
_TYPE = 0xF  # SOCK_TYPE_MASK; the rest are flags
_NONBLOCK, _CLOEXEC = 0o4000, 0o2000000
# Types and protocols by family: AF_UNIX, AF_INET, AF_INET6; 1 stream, 2 datagram, 5 seqpacket.
_MADE = {
    1: ((1, 0), (2, 0), (5, 0), (1, 1), (2, 1), (5, 1)),
    2: ((1, 0), (1, 6), (2, 0), (2, 17)),
    10: ((1, 0), (1, 6), (2, 0), (2, 17)),
}


class Sockets:
    """Answers the calls of one sandbox, as they come in."""

    def __init__(self) -> None:
        self._proc = seccomp_notify.open_proc()

    def serve(self, listener: int) -> bool:
        """Answer the next call on the filter's *listener*; False once no caller is left."""
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        events = poll.poll(0)
        if events and not events[0][1] & select.POLLIN:
            return False
        call = seccomp_notify.receive(listener, self._proc) if events else None
        if call is not None:
            try:
                answer(call)
            finally:
                call.close()
        return True


def answer(call: Call) -> None:
    """Make the socket that the call asks for, or refuse it; nothing is left to the kernel."""
    try:
        made = _make(call)
    except LeftToKernel:  # the caller was killed, or its pointer leads nowhere
        call.answer(errno.EFAULT)
    except OSError as error:
        call.answer(error.errno or errno.EPERM)
    else:
        os.close(made)


def _make(call: Call) -> int:
    subcall = call.arguments[0] & 0xFFFFFFFF
    if (call.machine, call.number, subcall) != (I386, SOCKETCALL, _SYS_SOCKET):
        raise PermissionError(errno.EPERM, "is not answered")  # from a filter of the program itself
    family, kind, protocol = struct.unpack("=iii", call.memory(call.arguments[1], 12))
    if (kind & _TYPE, protocol) not in _MADE.get(family, ()):
        raise PermissionError(errno.EPERM, "is not a socket for unprivileged users")
    uid, gid = _file_ids(call)
    try:  # a socket belongs to the IDs of its maker
        syscalls.set_file_ids(uid, gid)
        made = _socket.socket(family, kind & _TYPE | kind & _NONBLOCK, protocol).detach()
    finally:
        syscalls.set_file_ids(0, 0)
    try:
        call.answer_descriptor(made, close_on_exec=bool(kind & _CLOEXEC))
    except OSError as error:
        os.close(made)
        if error.errno == errno.EINVAL:  # before Linux 5.14
            raise OSError(errno.ENOSYS, "is not supported") from error
        raise
    return made


def _file_ids(call: Call) -> tuple[int, int]:
    """Return the caller's file system IDs, which cannot change while it waits."""
    fields = status(call.caller)
    call.check()
    return int(fields[b"Uid"][3]), int(fields[b"Gid"][3])
