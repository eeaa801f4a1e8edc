"""The content of a ZIP archive as one stream, in the order in which it stands there.

Only what is deflated is read: what is stored is there as it is.  Nothing but one window is kept in
memory, whatever the archive says of itself: the headers of its members are looked for, and its
directory, at the end, is not read.

Source: PKWARE's APPNOTE.TXT 6.3.10, 4.3.7, "Local file header".
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

from ocitool.layer.codec import CHUNK
from ocitool.oci.content import Stream

ZIP: Final = b"PK\x03\x04"
_HEADER: Final = 30  # bytes
_PAIR: Final = struct.Struct("<HH")
_DEFLATED: Final = 8
_ENCRYPTED: Final = 1


class ZipStream:
    """Reads from *stream*, which begins as an archive does."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._data = b""  # what was read and not yet used
        self._inflater: Any = None  # of the member that is read

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes, of one member; ``b""`` at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while size and (self._inflater is not None or self._next_member()):
            if data := self._inflate(size):
                return data
        return b""

    def close(self) -> None:
        self._stream.close()

    def _inflate(self, size: int) -> bytes:
        """Return a piece of the member; it is over at its end, and where it is corrupt."""
        inflater = self._inflater
        packed = inflater.unconsumed_tail or self._data or self._stream.read(CHUNK // 4)
        if not inflater.unconsumed_tail:
            self._data = b""
        try:
            data: bytes = inflater.decompress(packed, size)
        except zlib.error:
            data, self._data, self._inflater = b"", packed, None
            return data
        if inflater.eof:
            self._data, self._inflater = inflater.unused_data, None
        elif not packed and not data:  # cut off
            self._inflater = None
        return data

    def _next_member(self) -> bool:
        """Find the next member that is deflated; say whether there is one."""
        while self._find_header():
            flags, method = _PAIR.unpack_from(self._data, 6)
            begin = _HEADER + sum(_PAIR.unpack_from(self._data, 26))  # name and extra field
            if method == _DEFLATED and not flags & _ENCRYPTED and self._need(begin):
                self._data = self._data[begin:]
                self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                return True
            self._data = self._data[len(ZIP) :]
        return False

    def _find_header(self) -> bool:
        """Drop what is in front of the next header; say whether there is a whole one."""
        while (at := self._data.find(ZIP)) < 0:
            kept = self._data[-len(ZIP) + 1 :]
            more = self._stream.read(CHUNK // 4)
            if not more:
                return False
            self._data = kept + more
        self._data = self._data[at:]
        return self._need(_HEADER)

    def _need(self, size: int) -> bool:
        """Read until *size* bytes are there; say whether they are."""
        while len(self._data) < size and (more := self._stream.read(CHUNK // 4)):
            self._data += more
        return len(self._data) >= size
