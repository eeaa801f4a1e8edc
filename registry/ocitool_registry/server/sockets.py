"""Socket files and request bodies for the server: large reads, bounded memory, nothing lost.

cheroot's own are written in Python over 8 KiB buffers, hold a whole chunk of a chunked body in
memory whatever its size, take a dropped connection for the end of a body, and wait without end for
a client that sends a byte now and then.
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
    """A request's body is cut off or malformed."""


class Pace:
    """How long a client may keep a thread waiting: *patience* seconds for each stretch of bytes.

    Only the time counts that a thread waits, not what the server itself takes.  A socket's own
    timeout is of no use here: a client that sends one byte a second is never silent for long.

    Args:
        crowded: whether requests wait for a thread; a part of the patience must do then.
    """

    def __init__(self, patience: float, crowded: Callable[[], bool]) -> None:
        self._patience = patience
        self._crowded = crowded
        self.begin()

    def begin(self) -> None:
        """Begin a request."""
        self._bytes = 0
        self._waited = 0.0  # seconds

    def took(self, seconds: float, count: int) -> None:
        """Note that *count* bytes took *seconds*; `TimeoutError` if that is too slow."""
        self._waited += seconds
        self._bytes += count
        if self._bytes >= limits.STRETCH:
            self.begin()
        elif self._waited > self._patience or (
            self._waited > self._patience / limits.HURRY and self._crowded()
        ):
            raise TimeoutError("timed out")  # the words that cheroot knows


class SocketReader:
    """What comes from a socket, buffered for lines and direct for large reads.

    The socket's timeout is how often the *pace* is looked at where nothing comes.
    """

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self._sock = sock
        self._pace = pace
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer that hold no end of a head
        self.closed = False

    def fill(self) -> bool:
        """Take what has come, without waiting; returns whether a thread can go on with it.

        That is when a request's head is whole, or will never be.
        """
        try:
            data = os.read(self._sock.fileno(), _BUFFER)  # it does not block: it has a timeout
        except BlockingIOError:
            return self._has_head()
        self._buffer += data
        return not data or self._has_head()

    def _has_head(self) -> bool:
        buffer = self._buffer
        if len(buffer) > limits.HEAD or buffer[:1] == bytes((_TLS_HANDSHAKE,)):
            return True
        found = _END_OF_HEAD.search(buffer, self._searched)
        self._searched = max(len(buffer) - 2, 0)
        return found is not None

    def has_data(self) -> bool:
        """Say whether bytes are buffered: the selector does not see those."""
        return bool(self._buffer)

    def speaks_tls(self) -> bool:
        """Say whether the client began a TLS handshake."""
        return self._buffer[:1] == bytes((_TLS_HANDSHAKE,))

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes, none only at the end; `TimeoutError` by the pace."""
        return self._take(min(size, len(self._buffer))) if self._buffer else self._receive(size)

    def readline(self, size: int) -> bytes:
        """Return one line, or *size* bytes of it, or what there is before the end."""
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
                self._pace.took(time.monotonic() - began, 0)
                continue
            self._pace.took(time.monotonic() - began, len(data))
            return data

    def close(self) -> None:
        self.closed = True


class SocketWriter:
    """What goes to a socket, at once and without a copy; `TimeoutError` by the *pace*."""

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self._sock = sock
        self._pace = pace

    def write(self, data: bytes) -> int:
        left = memoryview(data)
        while left:
            began = time.monotonic()
            count = 0
            with contextlib.suppress(TimeoutError):
                count = self._sock.send(left)
            self._pace.took(time.monotonic() - began, count)
            left = left[count:]
        return len(data)

    def flush(self) -> None:
        return None

    def close(self) -> None:
        return None


class _Body:
    """A request's body; *begin* tells a client that waits for it to send (100 Continue)."""

    def __init__(self, source: SocketReader, begin: Callable[[], None] | None) -> None:
        self._source = source
        self._begin = begin

    @property
    def awaited(self) -> bool:
        """Whether the client still waits to be told to send."""
        return self._begin is not None

    def _invite(self) -> None:
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()

    def close(self) -> None:
        return None


class SizedBody(_Body):
    """A request body of known length."""

    def __init__(self, source: SocketReader, size: int, begin: Callable[[], None] | None) -> None:
        super().__init__(source, begin)
        self._left = size

    @property
    def finished(self) -> bool:
        """Whether nothing of the body is left on the socket."""
        return self._left == 0

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes; `BodyError` where the connection ends too early."""
        want = self._left if size < 0 else min(size, self._left)
        if not want:
            return b""
        self._invite()
        data = self._source.read(want)
        if not data:
            raise BodyError(f"the body ends {self._left} bytes early")
        self._left -= len(data)
        return data


class ChunkedBody(_Body):
    """A request body in chunks (RFC 9112, section 7.1); a chunk may be larger than memory."""

    def __init__(self, source: SocketReader, begin: Callable[[], None] | None) -> None:
        super().__init__(source, begin)
        self._left = 0  # bytes of the present chunk
        self.finished = False  # whether nothing of the body is left on the socket

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes; `BodyError` where it is cut off or malformed."""
        parts: list[bytes] = []
        want = size if size >= 0 else 1 << 62
        while want:
            if not self._left and not self._next_chunk():
                break
            data = self._source.read(min(want, self._left))
            if not data:
                if parts:  # hand out what came; the next read meets the end again
                    break
                raise BodyError("the body ends in the middle of a chunk")
            parts.append(data)
            want -= len(data)
            self._left -= len(data)
            if not self._left and self._line():
                raise BodyError("a chunk does not end where it said")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _next_chunk(self) -> bool:
        if self.finished:
            return False
        self._invite()
        text = self._line().partition(b";")[0].strip()
        # int() would also take "-1", "0x1" and "1_0".
        if not text or not set(text) <= set(b"0123456789abcdefABCDEF"):
            raise BodyError(f"{text[:20]!r} is not a chunk's size")
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
            raise BodyError("a line of a chunked body is cut off or too long")
        return line[:-2]
