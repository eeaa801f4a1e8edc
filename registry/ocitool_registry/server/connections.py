"""The connections that wait for a request; their number is limited.

A connection is passed to a thread once the head of a request is complete.  So a client that sends
nothing, or sends the head byte by byte, uses a descriptor but no thread, and only until its
deadline.  If there are too many connections, the one with the earliest deadline is closed.
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
from ocitool_registry.server.sockets import SocketReader, SocketWriter, StallTimer

_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\n"
)
_ACCEPT_DELAY: Final = 0.05  # seconds until the next accept if there is no free descriptor


class Connection(http.HTTPConnection):
    """One connection; it registers itself with *server* while it is open."""

    def __init__(self, server: Any, sock: socket.socket, makefile: Any = None) -> None:
        self.stall_timer = StallTimer(server.stall_timeout, server.is_crowded)

        def file(sock: socket.socket, mode: str, size: int) -> SocketReader | SocketWriter:
            return (
                SocketReader(sock, self.stall_timer)
                if "r" in mode
                else SocketWriter(sock, self.stall_timer)
            )

        super().__init__(server, sock, file)
        sock.settimeout(
            server.stall_timeout / limits.STALL_DIVISOR
        )  # how often the stall timer is checked
        server.open_connections.add(self)
        self.deadline = 0.0  # seconds of the monotonic clock
        self.await_request()

    def await_request(self) -> None:
        """Start to wait for the head of a request."""
        self._in_head = self.rfile.has_data()
        self._set_deadline()

    def fill(self) -> bool:
        """Read the available bytes of a head; returns whether a thread can continue with it."""
        whole: bool = self.rfile.fill()
        if self.rfile.has_data() and not self._in_head:
            self._in_head = True
            self._set_deadline()
        return whole

    def _set_deadline(self) -> None:
        timeout = self.server.stall_timeout if self._in_head else self.server.timeout
        self.deadline = time.monotonic() + timeout

    def refuse(self) -> None:
        """Send status 503 without waiting for the client, and close."""
        with contextlib.suppress(OSError):
            self.socket.settimeout(0)
            self.socket.send(_FULL)
        self.close()

    def close(self) -> None:
        self.server.open_connections.discard(self)
        with contextlib.suppress(OSError):  # the client may have disconnected
            super().close()


class Connections(ConnectionManager):
    """Waits for new connections and for requests on those that are open."""

    _selector: Any
    _from_server_socket: Any
    _stop_requested: bool

    def put(self, conn: Connection) -> None:
        """Take back a connection after a thread has served a request."""
        conn.await_request()
        if conn.rfile.has_data():  # the next request, or its beginning
            self.server.process_conn(conn)
        else:
            self.wait_for(conn)

    def wait_for(self, conn: Connection) -> None:
        """Wait for data on *conn*."""
        self._selector.register(conn.socket.fileno(), selectors.EVENT_READ, data=conn)

    def _run(self, expiration_interval: float) -> None:
        checked = time.monotonic()
        while not self._stop_requested:
            listening = False
            for number, conn in list(self._selector.select(timeout=expiration_interval)):
                if conn is self.server:
                    listening = True  # last, since it may close connections of this list
                else:
                    self._selector.unregister(number)
                    self.server.process_conn(conn)
            if listening:
                self._accept()
            now = time.monotonic()
            if now - checked > expiration_interval:
                checked = now
                for conn in [each for each in self._waiting() if each.deadline < now]:
                    self._close(conn)

    def _accept(self) -> None:
        try:
            conn = self._from_server_socket(self.server.socket)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS:
                raise
            if not self._make_room():
                time.sleep(_ACCEPT_DELAY)
            return
        if conn is None:
            return
        if (
            len(self.server.open_connections) > self.server.max_connections
            and not self._make_room()
        ):
            conn.refuse()
            return
        self.server.process_conn(conn)

    def _make_room(self) -> bool:
        waiting = self._waiting()
        if waiting:
            self._close(min(waiting, key=lambda conn: conn.deadline))
        return bool(waiting)

    def _waiting(self) -> list[Connection]:
        return [conn for _, conn in self._selector.connections if conn is not self.server]

    def _close(self, conn: Connection) -> None:
        self._selector.unregister(conn.socket.fileno())
        conn.close()
