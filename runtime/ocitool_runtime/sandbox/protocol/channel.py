"""Sending and receiving messages with descriptors, and steps whose failure is a message.

Both ends are the same interpreter, and marshal is built into it: nothing to import.
Runs in: host process, shim, container init.  Imports only the standard library.
"""

from __future__ import annotations

import _socket
import marshal
import os
import struct

from ocitool_runtime.sandbox.protocol.messages import Message, StepFailed, unpacked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

LARGEST = 1 << 16  # bytes in a message
_MOST_DESCRIPTORS = 4
_SHOWN = 300  # characters of either end of a text that is too long
_MSG_NOSIGNAL = 0x4000
_MSG_CMSG_CLOEXEC = 0x40000000


def adopt(fd: int) -> _socket.socket:
    """Return the socket that *fd* is."""
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Return two connected ends; a message is received whole or not at all."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


def send(end: _socket.socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send one message; raises OSError if the other end is closed."""
    extra = []
    if fds:
        packed = struct.pack(f"{len(fds)}i", *fds)
        extra.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed))
    data = marshal.dumps(message.packed())
    if len(data) > LARGEST:  # a text names an argument, which may have 128 KiB
        data = marshal.dumps(_shortened(message.packed()))
    end.sendmsg([data], extra, _MSG_NOSIGNAL)


def tell(control: _socket.socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send the host process a message, if it is still there."""
    try:
        send(control, message, fds)
    except OSError:
        return


def _shortened(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_shortened, value))
    if not isinstance(value, str) or len(value) <= 2 * _SHOWN:
        return value
    return f"{value[:_SHOWN]}…{value[-_SHOWN:]}"


def receive(end: _socket.socket) -> tuple[Message | None, list[int]]:
    """Return one message and its descriptors (closed on exec), None once the end is closed."""
    room = _socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
    try:
        data, extra, _, _ = end.recvmsg(LARGEST, room, _MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None, []
    fds: list[int] = []
    for _, _, packed in extra:
        fds += struct.unpack(f"{len(packed) // 4}i", packed)
    return (unpacked(marshal.loads(data)) if data else None), fds


class Failure(Exception):
    """A step of the setup did not succeed."""

    def __init__(self, message: StepFailed) -> None:
        super().__init__(f"{message.step}: {message.text}")
        self.message = message


class step:
    """Name a step of the setup: an error in the block becomes a `Failure`."""

    def __init__(self, step: str) -> None:
        self._step = step

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, (Failure, SystemExit)):
            return
        raise Failure(_step_failed(self._step, error)) from error


def _step_failed(step: str, error: BaseException) -> StepFailed:
    if isinstance(error, OSError):
        path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        return StepFailed(
            number=error.errno or 0,
            path=path,
            step=step,
            syscall=getattr(error, "syscall", ""),
            text=error.strerror or str(error),
        )
    text = str(error) or type(error).__name__
    return StepFailed(number=0, path="", step=step, syscall="", text=text)


def failure(error: BaseException) -> StepFailed:
    """Return the message for *error*, whatever it is."""
    if isinstance(error, Failure):
        return error.message
    return _step_failed("set up the sandbox", error)
