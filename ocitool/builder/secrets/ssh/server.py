"""Serving an agent on a socket."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from typing import Final

from ocitool.builder.secrets.ssh.agent import Agent
from ocitool.builder.secrets.ssh.protocol import Malformed, receive, send

_MOST: Final = 64  # clients at once; more wait


class AgentServer:
    """Serves *agent* on a socket that listens, or will: `start` when it does, and then `close`."""

    def __init__(self, agent: Agent) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self._agent = agent
        self._room = threading.Semaphore(_MOST)
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to accept clients."""
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the connections, and accept no more."""
        self._closed = True
        self._room.release()  # for the thread that accepts: clients may wait for the agent
        with contextlib.suppress(OSError):  # it does not listen
            self.socket.shutdown(socket.SHUT_RDWR)  # which ends accept(2)
        with self._lock:
            for client in self._clients:
                with contextlib.suppress(OSError):  # it has ended
                    client.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join()
        self.socket.close()

    def _accept(self) -> None:
        while True:
            self._room.acquire()
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            with self._lock:
                if self._closed:
                    client.close()
                    return
                self._clients.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            # What a client sends wrong ends its connection, and no other.
            with contextlib.suppress(OSError, Malformed), self._agent.connection() as answer:
                while message := receive(client):
                    send(client, answer(message))
        finally:
            with self._lock:
                self._clients.discard(client)
                client.close()
            self._room.release()


@contextlib.contextmanager
def listening(agent: Agent, home: str) -> Iterator[str]:
    """Serve *agent* on a socket of this user's within the block; yields its path.

    The socket is in the directory *home*; its path is short, as an address has to be (unix(7)).
    """
    with tempfile.TemporaryDirectory(dir=home) as directory:
        here = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        server = AgentServer(agent)
        try:
            path = f"/proc/{os.getpid()}/fd/{here}/agent"
            server.socket.bind(path)
            server.socket.listen()
            server.start()
            yield path
        finally:
            server.close()
            os.close(here)
