"""The content of a ZIP archive as one stream, in the order in which it stands there.

Only compressed members are read: the others can be read in the archive as they are.  Memory is
bounded whatever the archive contains: it is searched for the headers of members, and its directory,
at the end, is not read.

Source: PKWARE's APPNOTE.TXT 6.3.10, 4.3.7, "Local file header".
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any, Final

from ocitool.layer.codec import CHUNK
from ocitool.oci.content import Stream

ZIP: Final = b"PK\x03\x04"
#: The begin of a header: version, flags of which the first means encryption, method 8 (deflate).
_EVEN: Final = re.escape(bytes(range(0, 256, 2)))
_DEFLATED: Final = re.compile(ZIP + b"..[" + _EVEN + b"].\x08\x00", re.DOTALL)
_SEARCHED: Final = 10  # bytes of that
_HEADER: Final = 30  # bytes, without name and extra field
_PAIR: Final = struct.Struct("<HH")
_PIECE: Final = 1 << 14  # compressed bytes at once: members may be tiny, and what is left is copied


class ZipStream:
    """Reads from *stream*, which begins as an archive does."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._data = b""  # what was read
        self._at = 0  # bytes of it that were used
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
        """Return a piece of the member, which ends where its data ends, or is corrupt."""
        inflater = self._inflater
        self._require(1)
        piece = self._data[self._at : self._at + _PIECE]
        try:
            data: bytes = inflater.decompress(piece, size)
        except zlib.error:
            self._inflater = None
            return b""
        left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        self._at += len(piece) - len(left)
        if inflater.eof or not (piece or data):  # without both it is cut off
            self._inflater = None
        return data

    def _next_member(self) -> bool:
        """Find the next member that is deflated; say whether there is one."""
        while self._find_header():
            begin = _HEADER + sum(_PAIR.unpack_from(self._data, self._at + 26))  # name, extra field
            if self._require(begin):
                self._at += begin
                self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
                return True
            self._at += len(ZIP)
        return False

    def _find_header(self) -> bool:
        """Go to the next header; say whether there is a whole one."""
        while (found := _DEFLATED.search(self._data, self._at)) is None:
            self._at = max(self._at, len(self._data) - _SEARCHED + 1)
            if not self._read_more():
                return False
        self._at = found.start()
        return self._require(_HEADER)

    def _require(self, size: int) -> bool:
        """Read until *size* unused bytes are there; say whether they are."""
        while len(self._data) - self._at < size:
            if not self._read_more():
                return False
        return True

    def _read_more(self) -> bool:
        """Read more, and drop what was used; False at the end."""
        more = self._stream.read(CHUNK // 4)
        self._data, self._at = self._data[self._at :] + more, 0
        return bool(more)
