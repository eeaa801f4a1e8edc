"""Messages between `RootlessDriver` and its worker: JSON with a length, perhaps a descriptor."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import Any, Final

from ocitool import errors

_LENGTH: Final = 4  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A received message; ``fd`` is -1 if no descriptor came with it."""

    body: list[Any]
    fd: int = -1


def send(channel: socket.socket, body: list[Any], fd: int | None = None) -> None:
    """Send one message."""
    data = json.dumps(body).encode()
    head = len(data).to_bytes(_LENGTH, "big")
    if fd is None:
        channel.sendall(head + data)
    else:
        socket.send_fds(channel, [head], [fd])
        channel.sendall(data)


def receive(channel: socket.socket) -> Message | None:
    """Receive one message; None when the other end is closed."""
    try:
        head, fds, _, _ = socket.recv_fds(channel, _LENGTH, 1)
        if len(head) < _LENGTH:
            return None
        data = b""
        wanted = int.from_bytes(head, "big")
        while len(data) < wanted:
            piece = channel.recv(wanted - len(data))
            if not piece:
                return None
            data += piece
    except ConnectionError:
        return None
    for fd in fds:
        os.set_inheritable(fd, False)
    return Message(body=json.loads(data), fd=fds[0] if fds else -1)


def error_to(error: BaseException) -> dict[str, Any]:
    """Return an error as a value that can be sent."""
    if isinstance(error, errors.OcitoolError):
        return {
            "type": type(error).__name__,
            "message": error.message,
            "where": error.where,
            "hint": error.hint,
        }
    if isinstance(error, OSError):
        return {"errno": error.errno, "message": error.strerror, "where": error.filename}
    return {"type": "DriverError", "message": f"{type(error).__name__}: {error}"}


def error_from(fields: dict[str, Any]) -> BaseException:
    """Return the error of a received value."""
    if "errno" in fields:
        return OSError(fields["errno"], fields["message"], fields["where"])
    kind = getattr(errors, fields["type"], errors.DriverError)
    try:
        error: BaseException = kind(
            fields["message"], where=fields.get("where", ""), hint=fields.get("hint", "")
        )
    except TypeError:  # a class with other arguments
        return errors.DriverError(fields["message"])
    return error
