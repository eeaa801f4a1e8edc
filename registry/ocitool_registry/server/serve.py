"""The WSGI server: sockets and threads, hardened for large bodies and slow clients."""

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
    """A registry on a TCP port.  In a ``with`` block it runs from its start to its end."""

    def __init__(
        self,
        app: WSGIApplication,
        host: str,
        port: int,
        *,
        threads: int,
        timeout: float,
        stall_timeout: float = limits.STALL_TIMEOUT,
    ) -> None:
        self._http = _HttpServer(
            (host, port),
            app,
            numthreads=threads,
            request_queue_size=_BACKLOG,
            timeout=timeout,
        )
        self._http.stall_timeout = stall_timeout
        # The other half leaves each thread one or two for files.
        self._http.max_connections = min(limits.CONNECTIONS, _descriptors() // 2)
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """``host:port`` for clients; with port 0 the real port is known after `start`."""
        host, port = self._http.bind_addr[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Listen and serve in threads; `RegistryError` if the address cannot be used."""
        try:
            self._http.prepare()
        except OSError as error:
            raise RegistryError(
                f"cannot listen on {self.address}: {error}",
                hint="use another address or port, or stop the process that listens there",
            ) from error
        self._thread = threading.Thread(target=self._http.serve, name="registry", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return once the server has stopped."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Accept no more connections, wait a few seconds for running requests, and stop."""
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
    timeout: float = limits.IDLE_TIMEOUT,
    stall_timeout: float = limits.STALL_TIMEOUT,
) -> Server:
    """Return a server of *backend*, not started yet.

    *port* 0 selects a free port.  *threads* requests are served at the same time; the default is a
    quarter of RLIMIT_NOFILE, at most `limits.THREADS`.  A connection may be idle for *timeout*
    seconds between two requests.  A client gets *stall_timeout* seconds to send the head of a
    request, and for each `limits.STALL_BYTES` bytes of a body that it sends or receives.
    """
    return Server(
        application(backend),
        host,
        port,
        threads=threads or min(limits.THREADS, _descriptors() // 4),
        timeout=timeout,
        stall_timeout=stall_timeout,
    )


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


# -- subclasses of cheroot -----------------------------------------------------------------


class _HeaderReader(http.HeaderReader):
    """Prevents a 100 Continue of cheroot before the application has read the request."""

    def __call__(self, rfile: Any, hdict: Any = None) -> Any:
        headers = super().__call__(rfile, hdict)
        if headers.pop(b"Expect", b"").lower() == b"100-continue":
            headers[b"Expect-Later"] = b"100-continue"
        return headers


class _Request(http.HTTPRequest):
    header_reader = _HeaderReader()

    def parse_request(self) -> None:
        if self.conn.rfile.is_tls():
            # Without a response, both sides would wait for the end of a line.
            self.simple_response("400 Bad Request", "this port uses plain HTTP, not HTTPS\n")
            return
        super().parse_request()

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        length = self.inheaders.get(b"Content-Length", b"0")
        # Two lengths allow request smuggling past a proxy (RFC 9112, section 6.3).
        if not length.isdigit() or (self.chunked_read and b"Content-Length" in self.inheaders):
            self.simple_response("400 Bad Request", "invalid or ambiguous length of the body\n")
            return False
        return True

    def respond(self) -> None:
        self.conn.stall_timer.begin()
        begin = self._send_continue if b"Expect-Later" in self.inheaders else None
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
        if not self.rfile.finished and not _drain(self.rfile):
            self.close_connection = True
        super().send_headers()

    def _send_continue(self) -> None:
        self.conn.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _drain(body: SizedBody | ChunkedBody) -> bool:
    """Read the rest of a body that is not used, so that the client reads the response."""
    if body.expects_continue:
        return False
    left, end = limits.DRAIN, time.monotonic() + limits.STALL_TIMEOUT
    with contextlib.suppress(BodyError, OSError):
        while left > 0 and time.monotonic() < end and (data := body.read(_DRAIN_CHUNK)):
            left -= len(data)
    return body.finished


class _RegistryConnection(Connection):
    RequestHandlerClass = _Request


class _HttpServer(wsgi.Server):
    ConnectionClass = _RegistryConnection
    max_request_header_size = limits.REQUEST_HEAD
    keep_alive_conn_limit = limits.CONNECTIONS  # an idle one uses a descriptor, but no thread
    expiration_interval = 0.1  # seconds; stop waits for this time
    version = "ocitool"
    _connections: Any
    stall_timeout = limits.STALL_TIMEOUT
    max_connections = limits.CONNECTIONS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.open_connections: set[Connection] = set()

    def prepare(self) -> None:
        super().prepare()
        self._connections._selector.close()
        self._connections = Connections(self)

    def process_conn(self, conn: Connection) -> None:
        """Pass *conn* to a thread if it has a request, otherwise wait for one."""
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
        """Return whether requests wait for a thread."""
        return bool(self.requests.qsize)

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: Any) -> Any:
        try:
            return wsgi.Server.bind_socket(socket_, bind_addr)  # type: ignore[no-untyped-call]
        except OSError:
            socket_.close()  # cheroot does not close it
            raise

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        _LOG.log(level, "%s", msg, exc_info=traceback)
