"""SO_PEERCRED in single-ID mode: who is at the other end of a Unix socket.

Runs in: shim.  Imports only the standard library.
Source: unix(7), getsockopt(2), pidfd_getfd(2).
"""

from __future__ import annotations

import _socket
import os
import struct

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.files import status
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocitool_runtime.sandbox.single_id.credential_table import CredentialTable

_PEER = struct.Struct("=iII")  # struct ucred: pid, uid, gid


class Peers:
    """Answers with the IDs that the peer has now, which servers do not change any more."""

    def __init__(self, table: CredentialTable, proc: int) -> None:
        """*proc* is an open /proc."""
        self._table = table
        self._proc = proc

    def handlers(self) -> dict[str, Callable[[Call], None]]:
        """Return what answers each call."""
        return {"getsockopt": self._show}

    def _show(self, call: Call) -> None:
        _, _, _, buffer, length, *_ = call.arguments
        (room,) = struct.unpack("=I", call.memory(length, 4))
        pid = self._peer(call)
        if room < _PEER.size or pid <= 0:  # a socket without a peer
            raise LeftToKernel
        has = self._table.of(pid)
        inside = int(self._status(pid)[b"NSpid"][-1])
        call.write(buffer, _PEER.pack(inside, has.uids[1], has.gids[1]))
        call.write(length, struct.pack("=I", _PEER.size))
        call.answer()

    def _peer(self, call: Call) -> int:
        """Return the PID of the peer; raises `LeftToKernel`."""
        try:
            process = os.pidfd_open(int(status(call.caller)[b"Tgid"][0]))
            try:
                fd = syscalls.pidfd_getfd(process, call.arguments[0] & 0xFFFFFFFF)
            finally:
                os.close(process)
            end = _socket.socket(fileno=fd)
            try:
                found: tuple[int, int, int] = _PEER.unpack(
                    end.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER.size)
                )
            finally:
                end.close()
        except OSError:
            raise LeftToKernel from None
        return found[0]

    def _status(self, pid: int) -> dict[bytes, list[bytes]]:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            directory = os.open(str(pid), flags, dir_fd=self._proc)
            try:
                return status(directory)
            finally:
                os.close(directory)
        except OSError:
            raise LeftToKernel from None
