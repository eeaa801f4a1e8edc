"""The connections of the server that no thread is at: waiting for a request, bounded in number.

A thread gets a connection once the head of a request is whole.  So a client that is silent, or
sends a head byte by byte, costs a descriptor and no thread, and only until its deadline; where
there are too many connections, the one that has waited longest is closed for a new one.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from typing import Any, Final

from cheroot import server as http
from cheroot.connections import ConnectionManager

from ocitool_registry import limits
from ocitool_registry.server.sockets import Pace, SocketReader, SocketWriter

_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\n"
)
_BREATH: Final = 0.05  # seconds until another connection is tried where there is no descriptor


class Connection(http.HTTPConnection):
    """One connection; *server* counts those that are open."""

    def __init__(self, server: Any, sock: socket.socket, makefile: Any = None) -> None:
        self.pace = Pace(server.patience, server.is_crowded)

        def file(sock: socket.socket, mode: str, size: int) -> SocketReader | SocketWriter:
            return SocketReader(sock, self.pace) if "r" in mode else SocketWriter(sock, self.pace)

        super().__init__(server, sock, file)
        sock.settimeout(server.patience / limits.HURRY)  # how often the pace is looked at
        server.open_connections.add(self)
        self.deadline = 0.0  # seconds of the monotonic clock
        self.await_request()

    def await_request(self) -> None:
        """Begin to wait for the head of a request."""
        self._in_head = self.rfile.has_data()
        self._set_deadline()

    def fill(self) -> bool:
        """Take what has come of a head; returns whether a thread can go on with it."""
        whole: bool = self.rfile.fill()
        if self.rfile.has_data() and not self._in_head:
            self._in_head = True
            self._set_deadline()
        return whole

    def _set_deadline(self) -> None:
        lasts = self.server.patience if self._in_head else self.server.timeout
        self.deadline = time.monotonic() + lasts

    def refuse(self) -> None:
        """Say that there is no room, as far as the client takes it at once, and close."""
        with contextlib.suppress(OSError):
            self.socket.settimeout(0)
            self.socket.send(_FULL)
        self.close()

    def close(self) -> None:
        self.server.open_connections.discard(self)
        with contextlib.suppress(OSError):  # the client may have gone
            super().close()


class Connections(ConnectionManager):
    """Waits for new connections and for requests on those that are open."""

    _selector: Any
    _from_server_socket: Any
    _stop_requested: bool

    def put(self, conn: Connection) -> None:
        """Take back a connection that a thread has answered a request on."""
        conn.await_request()
        if conn.rfile.has_data():  # the next request, or its beginning
            self.server.process_conn(conn)
        else:
            self.wait_for(conn)

    def wait_for(self, conn: Connection) -> None:
        """Wait until something comes on *conn*."""
        self._selector.register(conn.socket.fileno(), selectors.EVENT_READ, data=conn)

    def _run(self, expiration_interval: float) -> None:
        looked = time.monotonic()
        while not self._stop_requested:
            listening = False
            for number, conn in list(self._selector.select(timeout=expiration_interval)):
                if conn is self.server:
                    listening = True  # last: it may close connections that are in this list
                else:
                    self._selector.unregister(number)
                    self.server.process_conn(conn)
            if listening:
                self._accept()
            now = time.monotonic()
            if now - looked > expiration_interval:
                looked = now
                for conn in [each for each in self._waiting() if each.deadline < now]:
                    self._hang_up(conn)

    def _accept(self) -> None:
        try:
            conn = self._from_server_socket(self.server.socket)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS:
                raise
            if not self._make_room():
                time.sleep(_BREATH)
            return
        if conn is None:
            return
        if len(self.server.open_connections) > self.server.most and not self._make_room():
            conn.refuse()
            return
        self.server.process_conn(conn)

    def _make_room(self) -> bool:
        waiting = self._waiting()
        if waiting:
            self._hang_up(min(waiting, key=lambda conn: conn.deadline))
        return bool(waiting)

    def _waiting(self) -> list[Connection]:
        return [conn for _, conn in self._selector.connections if conn is not self.server]

    def _hang_up(self, conn: Connection) -> None:
        self._selector.unregister(conn.socket.fileno())
        conn.close()
