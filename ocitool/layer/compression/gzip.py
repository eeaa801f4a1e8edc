"""gzip: compressed in several threads, by isal (ten times as fast as zlib) if it is installed.

Each piece is compressed independently and ends at a byte boundary, so any number of threads gives
the same bytes.  The output is a single member, since some readers stop after the first one.

Source: RFC 1951, RFC 1952.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Final

from ocitool.errors import LayerError
from ocitool.layer.codec import CHUNK, Codec, Compressor, chosen
from ocitool.layer.compression.parallel import processors
from ocitool.oci.content import Stream

LEVELS: Final = range(1, 10)
_OF_ISAL: Final = range(1, 4)  # the levels that isal has; those above are zlib's
#: No flags, no time, no name; OS 255 "unknown", so that no machine shows.
_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK: Final = b"\x03\x00"  # of fixed codes, empty, and marked as the last


class Gzip:
    """The codec; as many threads compress side by side as there are processors."""

    name: Final = "gzip"
    suffix: Final = "gzip"
    magic: Final = b"\x1f\x8b"
    #: isal's lower levels have been seen to give a block other bytes, equally valid, about once in
    #: 20,000 times; and this one packs closer.
    level: Final = 3

    def compressor(self, level: int | None = None) -> Compressor:
        level = chosen(self, level, LEVELS)
        return _GzipCompressor(deflater(level), processors())

    def decompress(self, stream: Stream) -> Stream:
        return _GzipReader(stream)


GZIP: Final[Codec] = Gzip()


class _GzipCompressor:
    """One gzip member.  Header and trailer are written here, since libraries differ in them."""

    def __init__(self, deflate: Callable[[bytes], bytes], threads: int) -> None:
        from ocitool.layer.compression.parallel import Team  # imports what reading does without

        self._crc32 = _crc32()
        self._team = Team(deflate, threads)
        self._crc = 0
        self._size = 0
        self._pending = _HEADER

    def compress(self, data: bytes, /) -> bytes:
        self._crc = self._crc32(data, self._crc)
        self._size += len(data)
        head, self._pending = self._pending, b""
        return head + self._team.put(data)

    def flush(self) -> bytes:
        return self._pending + self._team.close() + _LAST_BLOCK + _trailer(self._crc, self._size)


def member(data: bytes, deflate: Callable[[bytes], bytes]) -> bytes:
    """Return *data* as one gzip member."""
    return _HEADER + deflate(data) + _LAST_BLOCK + _trailer(_crc32()(data, 0), len(data))


def _trailer(crc: int, size: int) -> bytes:
    return crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def deflater(level: int) -> Callable[[bytes], bytes]:
    """Return what compresses one piece to whole bytes of blocks, none of them the last."""
    library: Any = zlib
    if level in _OF_ISAL:
        try:
            from isal import isal_zlib as library
        except ImportError:  # no wheel for this machine
            library = zlib

    def deflate(data: bytes) -> bytes:
        compressor = library.compressobj(level, library.DEFLATED, -library.MAX_WBITS)
        packed: bytes = compressor.compress(data)
        return packed + bytes(compressor.flush(library.Z_FULL_FLUSH))

    return deflate


def _crc32() -> Callable[[bytes, int], int]:
    try:
        from isal import isal_zlib
    except ImportError:  # no wheel for this machine
        return zlib.crc32
    crc32: Callable[[bytes, int], int] = isal_zlib.crc32
    return crc32


class _GzipReader:
    """Inflates any number of gzip members, at most `CHUNK` bytes at a time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._inflater: Any = _inflater()
        self._left = b""  # compressed bytes that were read and not yet used
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while not self._ended and size:
            if self._inflater.eof and not self._next_member():
                break
            if self._inflater.needs_input:
                self._fill()
            try:
                data: bytes = self._inflater.decompress(self._left, size)
            except Exception as error:  # isal raises its own type, zlib another
                raise LayerError(f"the gzip stream is corrupt: {error}") from error
            self._left = b""
            if data:
                return data
        return b""

    def _fill(self) -> None:
        if not self._left:
            self._left = self._stream.read(CHUNK // 4)
            if not self._left:
                raise LayerError("unexpected end of the gzip stream")

    def _next_member(self) -> bool:
        self._left = self._inflater.unused_data or self._stream.read(CHUNK // 4)
        # Padding with zeros after the last member is usual (gzip(1), "trailing zero bytes").
        while self._left and not self._left.strip(b"\0"):
            self._left = self._stream.read(CHUNK // 4)
        self._ended = not self._left
        if not self._ended:
            self._inflater = _inflater()
        return not self._ended

    def close(self) -> None:
        self._stream.close()


def _inflater() -> Any:
    try:
        from isal import igzip_lib
    except ImportError:  # no wheel for this machine
        return _ZlibInflater()
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


class _ZlibInflater:
    """zlib's object with the interface of isal's."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail and not self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, size: int) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail + data, size)
