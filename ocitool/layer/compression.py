"""Codecs: how a layer is compressed.

A codec is a value with a name; gzip is isal's (ten times zlib's speed) where there is a wheel.
The same bytes in give the same bytes out on every machine with the same library.
"""

from __future__ import annotations

import zlib
from typing import IO, Any, Final, Protocol, cast

from ocitool.errors import LayerError
from ocitool.oci.content import Stream

CHUNK: Final = 1 << 20  # bytes; large enough that threads do not fight for the interpreter


class Compressor(Protocol):
    """Compresses one stream."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Codec(Protocol):
    """One way to compress.  ``magic`` is how its output begins."""

    @property
    def name(self) -> str: ...
    @property
    def magic(self) -> bytes: ...

    def compressor(self) -> Compressor:
        """Return a new compressor."""

    def decompress(self, stream: Stream) -> Stream:
        """Return the plain content of *stream*; damaged input raises `LayerError` on `read`.

        Memory stays bounded whatever the input claims, and closing closes *stream*.
        """


class _Plain:
    name: Final = "none"
    magic: Final = b""

    def compressor(self) -> Compressor:
        return _Copier()

    def decompress(self, stream: Stream) -> Stream:
        return stream


class _Copier:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class _Gzip:
    name: Final = "gzip"
    magic: Final = b"\x1f\x8b"

    def compressor(self) -> Compressor:
        return _GzipCompressor()

    def decompress(self, stream: Stream) -> Stream:
        return _GzipReader(stream)


class _GzipCompressor:
    """One gzip member.  Header and trailer are written here, since libraries differ in them."""

    # RFC 1952: no flags, no time, no name; OS 255 "unknown", so that no machine shows.
    _HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

    def __init__(self) -> None:
        try:
            from isal import isal_zlib
        except ImportError:  # no wheel for this machine
            self._deflate: Any = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
            self._crc32: Any = zlib.crc32
        else:
            self._deflate = isal_zlib.compressobj(1, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
            self._crc32 = isal_zlib.crc32
        self._crc = 0
        self._size = 0
        self._pending = self._HEADER

    def compress(self, data: bytes, /) -> bytes:
        self._crc = self._crc32(data, self._crc)
        self._size += len(data)
        head, self._pending = self._pending, b""
        packed: bytes = self._deflate.compress(data)
        return head + packed if head else packed

    def flush(self) -> bytes:
        tail: bytes = self._deflate.flush()
        crc = self._crc.to_bytes(4, "little")
        return self._pending + tail + crc + (self._size & 0xFFFFFFFF).to_bytes(4, "little")


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
                raise LayerError(f"the gzip stream is damaged: {error}") from error
            self._left = b""
            if data:
                return data
        return b""

    def _fill(self) -> None:
        if not self._left:
            self._left = self._stream.read(CHUNK // 4)
            if not self._left:
                raise LayerError("the gzip stream ends too early")

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


_END_MARK: Final = b"E" * 64
#: A frame that holds it: one segment, its size in one byte, one block of a repeated byte (RFC 8878,
#: 3.1.1).  The mark itself does not stand in it, so a block that was cut off cannot show it.
_ZSTD_END: Final = (
    b"\x28\xb5\x2f\xfd\x20"
    + bytes([len(_END_MARK)])
    + (len(_END_MARK) << 3 | 1 << 1 | 1).to_bytes(3, "little")
    + _END_MARK[:1]
)


class _Zstd:
    name: Final = "zstd"
    magic: Final = b"\x28\xb5\x2f\xfd"

    def compressor(self) -> Compressor:
        import zstandard

        compressor: Compressor = zstandard.ZstdCompressor(
            level=3, write_checksum=True
        ).compressobj()
        return compressor

    def decompress(self, stream: Stream) -> Stream:
        return _ZstdReader(stream)


class _Marked:
    """A stream with `_ZSTD_END` behind its end, in one piece with what comes last.

    In a piece of its own the library may take it for the frame that it was waiting for.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._ahead: bytes | None = None

    def read(self, size: int, /) -> bytes:
        step = max(1, size - len(_ZSTD_END))  # bytes
        data = self._stream.read(step) if self._ahead is None else self._ahead
        if not data:
            if self._ahead is None:
                raise LayerError("the zstd stream is empty")
            return b""
        self._ahead = self._stream.read(step)
        return data if self._ahead else data + _ZSTD_END

    def close(self) -> None:
        self._stream.close()


class _ZstdReader:
    """Inflates any number of frames.

    The library takes the end of its input for the end of the content, wherever it comes.  So a
    frame of our own is put behind it: where its content does not come out last, something before
    it was cut off.
    """

    #: The window a decoder must support is 8 MiB (RFC 8878, 3.1.1.1.2); zstd -19 uses more.
    _WINDOW: Final = 128 << 20  # bytes

    def __init__(self, stream: Stream) -> None:
        import zstandard

        self._stream = stream
        self._error = zstandard.ZstdError
        decompressor = zstandard.ZstdDecompressor(max_window_size=self._WINDOW)
        # Only `read` is called on it, which is all a Stream promises.
        marked = cast(IO[bytes], _Marked(stream))
        self._reader = decompressor.stream_reader(marked, read_across_frames=True)
        self._held = b""  # what may be the end mark

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while size:
            try:
                data: bytes = self._reader.read(size)
            except self._error as error:
                raise LayerError(f"the zstd stream is damaged: {error}") from error
            if not data:
                if self._held != _END_MARK:
                    raise LayerError("the zstd stream ends too early")
                break
            data = self._held + data
            self._held = data[-len(_END_MARK) :]
            if data := data[: -len(_END_MARK)]:
                return data
        return b""

    def close(self) -> None:
        self._stream.close()


NONE: Final[Codec] = _Plain()
GZIP: Final[Codec] = _Gzip()
ZSTD: Final[Codec] = _Zstd()


def sniff(head: bytes) -> Codec | None:
    """Return the codec whose output begins with *head* (6 bytes or more), None for plain data."""
    for codec in (GZIP, ZSTD):
        if head.startswith(codec.magic):
            return codec
    return None
