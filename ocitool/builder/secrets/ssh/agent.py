"""SSH agents that a build may use: one of the caller, or one that has keys of files.

Either lists keys and signs with them, and does nothing else: a step cannot add, remove or lock
keys of the caller's agent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from ocitool.builder.secrets.ssh.keys import Key
from ocitool.builder.secrets.ssh.protocol import (
    EXTENSION,
    FAILURE,
    IDENTITIES_ANSWER,
    REQUEST_IDENTITIES,
    SIGN_REQUEST,
    SIGN_RESPONSE,
    Malformed,
    receive,
    send,
    split,
    string,
)

Answer: TypeAlias = Callable[[bytes], bytes]
"""What answers the messages of one connection."""


class Agent(Protocol):
    """An agent, to which clients connect."""

    def connection(self) -> contextlib.AbstractContextManager[Answer]:
        """Return what answers one client."""


class KeyAgent:
    """An agent with these keys alone."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = {key.public: key for key in keys}

    @contextlib.contextmanager
    def connection(self) -> Iterator[Answer]:
        """Yield what answers one client."""
        yield self.answer

    def answer(self, message: bytes) -> bytes:
        """Return the answer to *message*."""
        if message[0] == REQUEST_IDENTITIES:
            keys = self._keys.values()
            listed = (string(key.public) + string(key.comment.encode()) for key in keys)
            return IDENTITIES_ANSWER + struct.pack(">I", len(keys)) + b"".join(listed)
        if message[0] == SIGN_REQUEST:
            return self._sign(message)
        return FAILURE

    def _sign(self, message: bytes) -> bytes:
        public, data, flags = split(message, 2)
        key = self._keys.get(public)
        if key is None:
            return FAILURE
        try:
            return SIGN_RESPONSE + string(key.sign(data, int.from_bytes(flags, "big")))
        except ValueError:  # the key is too small for the hash
            return FAILURE


class ForwardedAgent:
    """The agent behind a socket of the caller."""

    def __init__(self, path: str) -> None:
        self.path = path

    @contextlib.contextmanager
    def connection(self) -> Iterator[Answer]:
        """Yield what answers one client; an agent that has ended fails each request."""
        with socket.socket(socket.AF_UNIX) as agent:
            with contextlib.suppress(OSError):
                _connect(agent, self.path)

            def answer(message: bytes) -> bytes:
                if not _is_passed_on(message):
                    return FAILURE
                try:
                    send(agent, message)
                    return receive(agent) or FAILURE
                except (OSError, Malformed):
                    return FAILURE

            yield answer


def _is_passed_on(message: bytes) -> bool:
    if message[0] == EXTENSION:  # keys may be restricted to connections that are bound so
        return split(message, 1)[0] == b"session-bind@openssh.com"
    return message[0] in (REQUEST_IDENTITIES, SIGN_REQUEST)


def _connect(end: socket.socket, path: str) -> None:
    """Connect to the socket *path*, which may be longer than an address (unix(7))."""
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        end.connect(f"/proc/self/fd/{opened}")
    finally:
        os.close(opened)
