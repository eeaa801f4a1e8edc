"""The server's sockets and threads: a WSGI server, hardened where large bodies need it."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

from cheroot import server as http
from cheroot import wsgi

from ocitool.errors import RegistryError
from ocitool_registry import limits
from ocitool_registry.server.app import application
from ocitool_registry.server.connections import Connection, Connections
from ocitool_registry.server.sockets import BodyError, ChunkedBody, SizedBody

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from ocitool_registry.server.backend import Backend

_LOG: Final = logging.getLogger("ocitool.registry")
_BACKLOG: Final = 128  # connections that wait to be accepted
_DRAIN_CHUNK: Final = 256 * 1024  # bytes


class Server:
    """A registry on a TCP port.  As a context it runs from its beginning to its end."""

    def __init__(
        self,
        app: WSGIApplication,
        host: str,
        port: int,
        *,
        threads: int,
        timeout: float,
        patience: float = limits.PATIENCE,
    ) -> None:
        self._http = _HttpServer(
            (host, port),
            app,
            numthreads=threads,
            request_queue_size=_BACKLOG,
            timeout=timeout,
        )
        self._http.patience = patience
        # A half for connections leaves each thread one or two for files.
        self._http.most = min(limits.CONNECTIONS, _descriptors() // 2)
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """``host:port`` as a client writes it; the port is a real one once `start` returned."""
        host, port = self._http.bind_addr[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Bind, listen and serve from threads of its own; `RegistryError` if it cannot."""
        try:
            self._http.prepare()
        except OSError as error:
            raise RegistryError(
                f"cannot listen on {self.address}: {error}",
                hint="choose another address or port, or stop what listens there",
            ) from error
        self._thread = threading.Thread(target=self._http.serve, name="registry", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return once the server has stopped."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Accept no more, let requests that are under way finish for a few seconds, and end."""
        self._http.stop()
        self.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(
    backend: Backend,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    threads: int | None = None,
    timeout: float = limits.IDLE,
    patience: float = limits.PATIENCE,
) -> Server:
    """Return a server of *backend*, not started yet.

    *port* 0 takes a free one.  *threads* requests are served at once, by default as many as the
    descriptors of this process allow, at most `limits.THREADS`.  *timeout* is how many seconds a
    connection may rest between two requests, *patience* how many seconds a client is waited for:
    for all of a request's head, and for each `limits.STRETCH` bytes of a body.
    """
    return Server(
        application(backend),
        host,
        port,
        threads=threads or min(limits.THREADS, _descriptors() // 4),
        timeout=timeout,
        patience=patience,
    )


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


# -- cheroot, adjusted ---------------------------------------------------------------------


class _HeaderReader(http.HeaderReader):
    """Keeps cheroot from inviting a body before the application has seen the request."""

    def __call__(self, rfile: Any, hdict: Any = None) -> Any:
        headers = super().__call__(rfile, hdict)
        if headers.pop(b"Expect", b"").lower() == b"100-continue":
            headers[b"Expect-Later"] = b"100-continue"
        return headers


class _Request(http.HTTPRequest):
    header_reader = _HeaderReader()

    def parse_request(self) -> None:
        if self.conn.rfile.speaks_tls():
            # Without an answer both sides would wait for a line that never ends.
            self.simple_response("400 Bad Request", "this port speaks plain HTTP, not TLS\n")
            return
        super().parse_request()

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        length = self.inheaders.get(b"Content-Length", b"0")
        # Two lengths are how requests are smuggled past a proxy (RFC 9112, section 6.3).
        if not length.isdigit() or (self.chunked_read and b"Content-Length" in self.inheaders):
            self.simple_response("400 Bad Request", "the length of the body is not clear\n")
            return False
        return True

    def respond(self) -> None:
        self.conn.pace.begin()
        begin = self._invite if b"Expect-Later" in self.inheaders else None
        length = int(self.inheaders.get(b"Content-Length", 0))
        self.rfile = (
            ChunkedBody(self.conn.rfile, begin)
            if self.chunked_read
            else SizedBody(self.conn.rfile, length, begin)
        )
        self.server.gateway(self).respond()
        if self.ready:
            self.ensure_headers_sent()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")

    def send_headers(self) -> None:
        if not self.rfile.finished and not _drained(self.rfile):
            self.close_connection = True
        super().send_headers()

    def _invite(self) -> None:
        self.conn.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _drained(body: SizedBody | ChunkedBody) -> bool:
    """Read the rest of a body nobody wants, so that its sender comes to read the answer."""
    if body.awaited:
        return False
    left, end = limits.DRAIN, time.monotonic() + limits.PATIENCE
    with contextlib.suppress(BodyError, OSError):
        while left > 0 and time.monotonic() < end and (data := body.read(_DRAIN_CHUNK)):
            left -= len(data)
    return body.finished


class _RegistryConnection(Connection):
    RequestHandlerClass = _Request


class _HttpServer(wsgi.Server):
    ConnectionClass = _RegistryConnection
    max_request_header_size = limits.HEAD
    keep_alive_conn_limit = limits.CONNECTIONS  # idle ones cost a descriptor each, and no thread
    expiration_interval = 0.1  # seconds; stopping waits for as long
    version = "ocitool"
    _connections: Any
    patience = limits.PATIENCE
    most = limits.CONNECTIONS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.open_connections: set[Connection] = set()

    def prepare(self) -> None:
        super().prepare()
        self._connections._selector.close()
        self._connections = Connections(self)

    def process_conn(self, conn: Connection) -> None:
        """Hand *conn* to a thread if it has a request, or wait for one."""
        try:
            whole = conn.fill()
        except OSError:  # reset by the client
            conn.close()
            return
        if whole and not conn.rfile.has_data():  # closed by the client
            conn.close()
        elif whole:
            super().process_conn(conn)
        else:
            self._connections.wait_for(conn)

    def is_crowded(self) -> bool:
        """Say whether requests wait for a thread."""
        return bool(self.requests.qsize)

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: Any) -> Any:
        try:
            return wsgi.Server.bind_socket(socket_, bind_addr)  # type: ignore[no-untyped-call]
        except OSError:
            socket_.close()  # which cheroot leaves to the garbage collector
            raise

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        _LOG.log(level, "%s", msg, exc_info=traceback)
