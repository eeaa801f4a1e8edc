"""System calls that a seccomp filter hands to the shim, received and answered.

The caller is not trusted, and may be killed at any time.
Runs in: shim.  Imports only the standard library.
Source: seccomp_unotify(2); linux/seccomp.h, linux/audit.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7  # AUDIT_ARCH_*, linux/audit.h
_RECEIVE = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV
_SEND = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND
_ID_VALID = 0x40082102  # SECCOMP_IOCTL_NOTIF_ID_VALID
_ADD_DESCRIPTOR = 0x40182103  # SECCOMP_IOCTL_NOTIF_ADDFD
_SET_FLAGS = 0x40082104  # SECCOMP_IOCTL_NOTIF_SET_FLAGS
_SYNC_WAKE_UP = 1  # SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
_ADD_AND_SEND = 2  # SECCOMP_ADDFD_FLAG_SEND, Linux 5.14
_CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, number, machine, address, arguments
_RESPONSE = struct.Struct("=QqiI")  # id, value, error, flags
_DESCRIPTOR = struct.Struct("=QIIII")  # id, flags, descriptor, number in the caller, its flags


class LeftToKernel(Exception):
    """The call is left to the kernel, which executes it as if there were no filter."""


class Call:
    """One call, of the thread *pid*."""

    __slots__ = ("_caller", "_listener", "_proc", "arguments", "id", "machine", "number", "pid")

    def __init__(self, listener: int, data: bytes, proc: int) -> None:
        fields = _NOTIFICATION.unpack(data)
        self.id, self.pid, _, self.number, self.machine, _, *self.arguments = fields
        self._listener = listener
        self._proc = proc
        self._caller: int | None = None

    @property
    def caller(self) -> int:
        """The caller's directory in /proc, open until `close`; -1 if the caller has ended."""
        if self._caller is None:
            self._caller = -1
            flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
            try:
                self._caller = os.open(str(self.pid), flags, dir_fd=self._proc)
                self.check()
            except (OSError, LeftToKernel):
                self.close()
        return self._caller

    def check(self) -> None:
        """Raise `LeftToKernel` unless the caller still waits.

        If it does, what was found by its number was its own, and not a later process's.
        """
        try:
            fcntl.ioctl(self._listener, _ID_VALID, struct.pack("=Q", self.id))
        except OSError:
            raise LeftToKernel from None

    def memory(self, address: int, size: int) -> bytes:
        """Return *size* bytes of the caller's memory, read once, or raise `LeftToKernel`."""
        try:
            memory = os.open("mem", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.caller)
            try:
                data = os.pread(memory, size, address)
            finally:
                os.close(memory)
        except (OSError, OverflowError):  # the kernel will return EFAULT
            raise LeftToKernel from None
        self.check()
        if len(data) != size:
            raise LeftToKernel
        return data

    def answer(self, error: int = 0, *, value: int = 0) -> None:
        """Let the call return *value*, or fail with *error*."""
        self._send(_RESPONSE.pack(self.id, value, -error, 0))

    def write(self, address: int, data: bytes) -> None:
        """Write *data* to the caller's memory."""
        try:
            memory = os.open("mem", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self.caller)
            try:
                self.check()
                os.pwrite(memory, data, address)
            finally:
                os.close(memory)
        except (OSError, OverflowError):
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT)) from None

    def answer_data(self, address: int, data: bytes, value: int = 0) -> None:
        """Write *data* to the caller's memory, and let the call return *value*."""
        self.write(address, data)
        self.answer(value=value)

    def leave(self) -> None:
        """Let the kernel execute the call."""
        self._send(_RESPONSE.pack(self.id, 0, 0, _CONTINUE))

    def answer_descriptor(self, fd: int, *, close_on_exec: bool) -> None:
        """Let the call return a copy of *fd*; raises OSError, EINVAL before Linux 5.14."""
        flags = os.O_CLOEXEC if close_on_exec else 0
        added = _DESCRIPTOR.pack(self.id, _ADD_AND_SEND, fd, 0, flags)
        fcntl.ioctl(self._listener, _ADD_DESCRIPTOR, added)

    def _send(self, response: bytes) -> None:
        try:
            fcntl.ioctl(self._listener, _SEND, bytearray(response))
        except OSError as error:
            if error.errno != errno.ENOENT:  # the caller was killed
                raise

    def close(self) -> None:
        """Close the caller's directory."""
        if self._caller is not None and self._caller >= 0:
            os.close(self._caller)
        self._caller = -1


def wake_at_once(listener: int) -> None:
    """Have a caller and who answers take turns on one CPU, which is quicker (Linux 6.6)."""
    try:
        fcntl.ioctl(listener, _SET_FLAGS, _SYNC_WAKE_UP)
    except OSError:
        return


def receive(listener: int, proc: int) -> Call | None:
    """Return the next call, None if its caller was killed; *proc* is an open /proc."""
    data = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, data)
    except OSError as error:
        if error.errno in (errno.EINTR, errno.ENOENT):
            return None
        raise
    return Call(listener, bytes(data), proc)


def open_proc() -> int:
    """Return an open /proc; raises OSError unless it is that of this PID namespace."""
    proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    if os.readlink("self", dir_fd=proc) != str(os.getpid()):
        # A caller's PID would be that of an unrelated process there.
        os.close(proc)
        raise OSError(errno.EXDEV, "is not that of this PID namespace", "/proc")
    return proc
