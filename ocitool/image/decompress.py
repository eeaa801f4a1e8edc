"""Tars from the user: their compression is detected by the first bytes."""

from __future__ import annotations

import bz2
import lzma
from typing import Any, Final, cast

from ocitool.errors import FormatError, LayerError
from ocitool.layer.compression.codecs import sniff
from ocitool.layer.tar.header import BLOCK, verify
from ocitool.oci.content import Stream
from ocitool.oci.streams import Peeked

_BZIP2: Final = b"BZh"
_XZ: Final = b"\xfd7zXZ\0"


def plain(stream: Stream, where: str) -> Stream:
    """Return the tar *stream*, decompressed if it is compressed with gzip, zstd, xz or bzip2.

    *where* is used for errors.

    Raises:
        FormatError: it is empty, or not a tar.
        LayerError: the compressed data is corrupt.
    """
    peeked = Peeked(stream, len(_XZ))
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
        return _Translated(cast(Stream, lzma.LZMAFile(source)))
    return stream


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
