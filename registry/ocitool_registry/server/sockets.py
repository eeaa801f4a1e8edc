"""Socket files and request bodies of the server: large reads, bounded memory, timeouts.

Those of cheroot use buffers of 8 KiB, read a whole chunk of a chunked body into memory whatever
its size, treat a lost connection as the end of a body, and wait forever for a client that sends a
byte from time to time.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable
from typing import Final

from ocitool.errors import TransportError
from ocitool_registry import limits

_BUFFER: Final = 64 * 1024  # bytes
_LARGEST_READ: Final = 256 * 1024  # bytes
_LONGEST_LINE: Final = 4096  # bytes of a chunk's size line or of a trailer
_MOST_TRAILERS: Final = 100
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_TLS_HANDSHAKE: Final = 0x16  # the first byte of a TLS record that begins a handshake


class BodyError(TransportError):
    """The body of a request is cut off or malformed."""


class StallTimer:
    """Limits how long a client may block a thread: *stall_timeout* seconds per `STALL_BYTES`.

    Only time spent waiting for the client counts.  A timeout of the socket is not enough, since a
    client that sends one byte per second never reaches it.

    Args:
        crowded: returns whether requests wait for a thread; the timeout is shorter then.
    """

    def __init__(self, stall_timeout: float, crowded: Callable[[], bool]) -> None:
        self._patience = stall_timeout
        self._crowded = crowded
        self.begin()

    def begin(self) -> None:
        """Start again, for a new request."""
        self._bytes = 0
        self._waited = 0.0  # seconds

    def add(self, seconds: float, count: int) -> None:
        """Count *seconds* of waiting for *count* bytes; `TimeoutError` if that is too slow."""
        self._waited += seconds
        self._bytes += count
        if self._bytes >= limits.STALL_BYTES:
            self.begin()
        elif self._waited > self._patience or (
            self._waited > self._patience / limits.STALL_DIVISOR and self._crowded()
        ):
            raise TimeoutError("timed out")  # the text that cheroot expects


class SocketReader:
    """Reads from a socket: buffered for lines, unbuffered for large reads.

    After each timeout of the socket the *stall_timer* is checked.
    """

    def __init__(self, sock: socket.socket, stall_timer: StallTimer) -> None:
        self._sock = sock
        self._stall_timer = stall_timer
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer that do not contain the end of a head
        self.closed = False

    def fill(self) -> bool:
        """Read available bytes without waiting; returns whether a thread can continue.

        That is if the head of a request is complete, or can no longer become so.
        """
        try:
            data = os.read(
                self._sock.fileno(), _BUFFER
            )  # does not block: a socket with a timeout is non-blocking
        except BlockingIOError:
            return self._has_head()
        self._buffer += data
        return not data or self._has_head()

    def _has_head(self) -> bool:
        buffer = self._buffer
        if len(buffer) > limits.REQUEST_HEAD or buffer[:1] == bytes((_TLS_HANDSHAKE,)):
            return True
        found = _END_OF_HEAD.search(buffer, self._searched)
        self._searched = max(len(buffer) - 2, 0)
        return found is not None

    def has_data(self) -> bool:
        """Return whether bytes are buffered, which the selector cannot see."""
        return bool(self._buffer)

    def is_tls(self) -> bool:
        """Return whether the client has started a TLS handshake."""
        return self._buffer[:1] == bytes((_TLS_HANDSHAKE,))

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes, none only at the end; `TimeoutError` if the client stalls."""
        return self._take(min(size, len(self._buffer))) if self._buffer else self._receive(size)

    def readline(self, size: int) -> bytes:
        """Return one line, or at most *size* bytes of it, or the rest before the end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched, size)) < 0:
            searched = len(self._buffer)
            if searched >= size or not (data := self._receive(_BUFFER)):
                return self._take(min(size, searched))
            self._buffer += data
        return self._take(end + 1)

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._searched = 0
        return data

    def _receive(self, size: int) -> bytes:
        while True:
            began = time.monotonic()
            try:
                data = self._sock.recv(min(size, _LARGEST_READ))
            except TimeoutError:
                self._stall_timer.add(time.monotonic() - began, 0)
                continue
            self._stall_timer.add(time.monotonic() - began, len(data))
            return data

    def close(self) -> None:
        self.closed = True


class SocketWriter:
    """Writes to a socket, without a copy; `TimeoutError` if the client stalls."""

    def __init__(self, sock: socket.socket, stall_timer: StallTimer) -> None:
        self._sock = sock
        self._stall_timer = stall_timer

    def write(self, data: bytes) -> int:
        left = memoryview(data)
        while left:
            began = time.monotonic()
            count = 0
            with contextlib.suppress(TimeoutError):
                count = self._sock.send(left)
            self._stall_timer.add(time.monotonic() - began, count)
            left = left[count:]
        return len(data)

    def flush(self) -> None:
        return None

    def close(self) -> None:
        return None


class _Body:
    """The body of a request; *begin* sends 100 Continue if the client waits for it."""

    def __init__(self, source: SocketReader, begin: Callable[[], None] | None) -> None:
        self._source = source
        self._begin = begin

    @property
    def expects_continue(self) -> bool:
        """Whether the client still waits for 100 Continue."""
        return self._begin is not None

    def _send_continue(self) -> None:
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()

    def close(self) -> None:
        return None


class SizedBody(_Body):
    """A body with a Content-Length."""

    def __init__(self, source: SocketReader, size: int, begin: Callable[[], None] | None) -> None:
        super().__init__(source, begin)
        self._left = size

    @property
    def finished(self) -> bool:
        """Whether the whole body has been read."""
        return self._left == 0

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes; `BodyError` if the connection ends too early."""
        want = self._left if size < 0 else min(size, self._left)
        if not want:
            return b""
        self._send_continue()
        data = self._source.read(want)
        if not data:
            raise BodyError(f"body ends {self._left} bytes early")
        self._left -= len(data)
        return data


class ChunkedBody(_Body):
    """A chunked body (RFC 9112, section 7.1); a chunk may be larger than memory."""

    def __init__(self, source: SocketReader, begin: Callable[[], None] | None) -> None:
        super().__init__(source, begin)
        self._left = 0  # bytes of the current chunk
        self.finished = False  # whether the whole body has been read

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes; `BodyError` if the body is cut off or malformed."""
        parts: list[bytes] = []
        want = size if size >= 0 else 1 << 62
        while want:
            if not self._left and not self._next_chunk():
                break
            data = self._source.read(min(want, self._left))
            if not data:
                if parts:  # return these bytes; the next read raises
                    break
                raise BodyError("body ends in the middle of a chunk")
            parts.append(data)
            want -= len(data)
            self._left -= len(data)
            if not self._left and self._line():
                raise BodyError("chunk is longer than its size")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _next_chunk(self) -> bool:
        if self.finished:
            return False
        self._send_continue()
        text = self._line().partition(b";")[0].strip()
        # int() would also accept "-1", "0x1" and "1_0".
        if not text or not set(text) <= set(b"0123456789abcdefABCDEF"):
            raise BodyError(f"invalid chunk size {text[:20]!r}")
        self._left = int(text, 16)
        if not self._left:
            self._skip_trailers()
        return not self.finished

    def _skip_trailers(self) -> None:
        for _ in range(_MOST_TRAILERS):
            if not self._line():
                self.finished = True
                return
        raise BodyError("too many trailers")

    def _line(self) -> bytes:
        line = self._source.readline(_LONGEST_LINE)
        if not line.endswith(b"\r\n"):
            raise BodyError("line of a chunked body is cut off or too long")
        return line[:-2]
