"""Tars from the user: their compression is detected by the first bytes."""

from __future__ import annotations

import bz2
import lzma
from typing import Any, Final, cast

from ocitool.errors import FormatError, LayerError, TooLarge
from ocitool.layer.codec import CHUNK
from ocitool.layer.compression.codecs import sniff
from ocitool.layer.tar.header import BLOCK, verify
from ocitool.oci.content import Stream
from ocitool.oci.streams import Peeked

_BZIP2: Final = b"BZh"
_XZ: Final = b"\xfd7zXZ\0"
HEAD: Final = len(_XZ)  # bytes that say how something is compressed
#: Bytes of memory for xz, whose files say how much is needed; `xz -9` takes 65 MiB.
_MEMORY: Final = 256 << 20


def plain(stream: Stream, where: str) -> Stream:
    """Return the tar *stream*, decompressed if it is compressed with gzip, zstd, xz or bzip2.

    *where* is used for errors.

    Raises:
        FormatError: it is empty, or not a tar.
        LayerError: the compressed data is corrupt.
    """
    peeked = Peeked(stream, HEAD)
    if not peeked.head:
        raise FormatError("the input is empty", where=where)
    tar = Peeked(inflated(peeked.head, peeked), BLOCK)
    try:
        if tar.head.strip(b"\0"):
            verify(tar.head.ljust(BLOCK, b"\0"), 0)
    except LayerError as error:
        raise FormatError(
            "invalid tar archive",
            where=where,
            hint="use a tar, plain or compressed with gzip, zstd, xz or bzip2",
        ) from error
    return tar


def inflated(head: bytes, stream: Stream) -> Stream:
    """Return *stream*, which begins with *head* (its first 6 bytes), decompressed.

    Reading raises `LayerError` if the compressed data is corrupt.
    """
    codec = sniff(head)
    if codec is not None:
        return codec.decompress(stream)
    source: Any = stream  # only its `read` is called
    if head.startswith(_BZIP2):
        return _Translated(cast(Stream, bz2.BZ2File(source)))
    if head.startswith(_XZ):
        return _Translated(_XzReader(stream))
    return stream


class _XzReader:
    """Decompresses any number of xz streams, with bounded memory, unlike `lzma.LZMAFile`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = b""  # compressed bytes that were read and not yet used
        self._object: Any = None

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while size:
            if self._object is None and not self._next_stream():
                break
            fed = b""
            if self._object.needs_input:
                fed = self._left or self._stream.read(CHUNK // 4)
                self._left = b""
                if not fed:
                    raise EOFError("unexpected end of the xz stream")
            try:
                data: bytes = self._object.decompress(fed, size)
            except lzma.LZMAError as error:
                if "Memory" not in str(error):
                    raise
                raise TooLarge(
                    f"the xz data needs more than {_MEMORY >> 20} MiB of memory",
                    hint="compress it with another tool, or with xz -9 or less",
                ) from error
            if self._object.eof:
                self._left, self._object = self._object.unused_data, None
            if data:
                return data
        return b""

    def _next_stream(self) -> bool:
        # Zeros may follow a stream (xz file format, 2.2, "Stream Padding").
        while not self._left.lstrip(b"\0"):
            self._left = self._stream.read(CHUNK // 4)
            if not self._left:
                return False
        self._left = self._left.lstrip(b"\0")
        self._object = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)
        return True

    def close(self) -> None:
        self._stream.close()


class _Translated:
    """A reader of the standard library, with translated errors."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._stream.read(size)
        except (lzma.LZMAError, EOFError) as error:
            raise _corrupt(error) from error
        except OSError as error:  # bz2 raises "Invalid data stream" as one without a number
            if error.errno is not None:
                raise
            raise _corrupt(error) from error

    def close(self) -> None:
        self._stream.close()


def _corrupt(error: Exception) -> LayerError:
    return LayerError(f"compressed data is corrupt: {error}")
