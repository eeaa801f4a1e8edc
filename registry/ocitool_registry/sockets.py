"""Socket files and request bodies for the server: large reads, bounded memory, nothing lost.

cheroot's own are written in Python over 8 KiB buffers, hold a whole chunk of a chunked body in
memory whatever its size, and take a dropped connection for the end of a body.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from typing import Final

from ocitool.errors import TransportError

_BUFFER: Final = 64 * 1024  # bytes
_LONGEST_LINE: Final = 4096  # bytes of a chunk's size line or of a trailer
_MOST_TRAILERS: Final = 100


class BodyError(TransportError):
    """A request's body is cut off or malformed."""


class SocketReader:
    """What comes from a socket, buffered for lines and direct for large reads."""

    def __init__(self, sock: socket.socket) -> None:
        self._raw = _CountedSocket(sock)
        self._file = io.BufferedReader(self._raw, _BUFFER)
        self.bytes_read = 0  # bytes handed out

    def read(self, size: int = -1) -> bytes:
        """Return *size* bytes, fewer only at the end."""
        data = self._file.read(size)
        self.bytes_read += len(data)
        return data

    def readline(self, size: int = -1) -> bytes:
        """Return one line, or *size* bytes of it."""
        line = self._file.readline(size)
        self.bytes_read += len(line)
        return line

    def peek(self) -> bytes:
        """Return what is buffered, at least one byte before the end, and leave it there."""
        return self._file.peek(1)

    def has_data(self) -> bool:
        """Say whether bytes are buffered: the selector does not see those."""
        return self._raw.received > self.bytes_read

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        self._file.close()


class SocketWriter:
    """What goes to a socket, at once and without a copy."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.bytes_written = 0

    def write(self, data: bytes) -> int:
        self._sock.sendall(data)
        self.bytes_written += len(data)
        return len(data)

    def flush(self) -> None:
        return None

    def close(self) -> None:
        return None


class _CountedSocket(socket.SocketIO):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "r")
        self.received = 0  # bytes

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        count = super().readinto(buffer)
        self.received += count or 0
        return count


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
