"""The protocol of SSH agents: messages framed by their length, and the fields in them.

Source: draft-miller-ssh-agent; RFC 4251, section 5, "Data Type Representations".
"""

from __future__ import annotations

import socket
import struct
from typing import Final

LARGEST: Final = 256 << 10  # bytes of a message, as OpenSSH's agent

FAILURE: Final = b"\x05"
REQUEST_IDENTITIES: Final = 11
IDENTITIES_ANSWER: Final = b"\x0c"
SIGN_REQUEST: Final = 13
SIGN_RESPONSE: Final = b"\x0e"
EXTENSION: Final = 27
RSA_SHA2_256: Final = 2  # flags of a SIGN_REQUEST
RSA_SHA2_512: Final = 4


class Malformed(Exception):
    """A message ends too early, or is too large."""


def string(data: bytes) -> bytes:
    """Return *data* as a field."""
    return struct.pack(">I", len(data)) + data


def mpint(value: int) -> bytes:
    """Return a number that is not negative as a field."""
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big") if value else b"")


def split(message: bytes, count: int) -> list[bytes]:
    """Return the first *count* strings behind the type of *message*, and what follows them.

    Raises `Malformed` if there are fewer.
    """
    found, rest = [], message[1:]
    for _ in range(count):
        size = int.from_bytes(rest[:4], "big")
        if len(rest) < 4 + size:
            raise Malformed
        found.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    return [*found, rest]


def receive(end: socket.socket) -> bytes:
    """Return the next message; empty once the other end is closed.  Raises `Malformed`."""
    head = _read(end, 4)
    if not head:
        return b""
    (size,) = struct.unpack(">I", head)
    if not 0 < size <= LARGEST:
        raise Malformed
    message = _read(end, size)
    if not message:
        raise Malformed
    return message


def send(end: socket.socket, message: bytes) -> None:
    """Send one message."""
    end.sendall(string(message))


def _read(end: socket.socket, size: int) -> bytes:
    """Return *size* bytes; none if the other end was closed before the first."""
    data = bytearray()
    while len(data) < size:
        piece = end.recv(size - len(data))
        if not piece:
            if data:
                raise Malformed
            return b""
        data += piece
    return bytes(data)
