"""zstd, compressed in several threads.

Source: RFC 8878.
"""

from __future__ import annotations

from typing import IO, Final, cast

from ocitool.errors import LayerError
from ocitool.layer.codec import CHUNK, Codec, Compressor, chosen
from ocitool.layer.compression.parallel import processors
from ocitool.oci.content import Stream

#: Those above need windows beyond the 8 MiB that a decoder must support (3.1.1.1.2).
_LEVELS: Final = range(1, 20)

_END_MARK: Final = b"E" * 64
#: A frame that holds it: one segment, its size in one byte, one block of a repeated byte (RFC 8878,
#: 3.1.1).  The mark itself does not stand in it, so a block that was cut off cannot show it.
_ZSTD_END: Final = (
    b"\x28\xb5\x2f\xfd\x20"
    + bytes([len(_END_MARK)])
    + (len(_END_MARK) << 3 | 1 << 1 | 1).to_bytes(3, "little")
    + _END_MARK[:1]
)


class Zstd:
    """The codec; as many threads compress side by side as there are processors."""

    name: Final = "zstd"
    suffix: Final = "zstd"
    magic: Final = b"\x28\xb5\x2f\xfd"
    level: Final = 3

    def compressor(self, level: int | None = None) -> Compressor:
        import zstandard

        # One thread and many give the same bytes, since the library cuts its input by the level
        # alone; without any (0, its default) it does not cut, and gives others.
        compressor: Compressor = zstandard.ZstdCompressor(
            level=chosen(self, level, _LEVELS),
            write_checksum=True,
            threads=processors(),
        ).compressobj()
        return compressor

    def decompress(self, stream: Stream) -> Stream:
        return _ZstdReader(stream)


ZSTD: Final[Codec] = Zstd()


class _EndMarked:
    """A stream with `_ZSTD_END` after its end, in one piece with what comes last.

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

    The library cannot tell the end of the content from truncated input.  So another frame is
    appended: if its content is not the last output, the data before it was truncated.
    """

    #: The window a decoder must support is 8 MiB (RFC 8878, 3.1.1.1.2); zstd -19 uses more.
    _WINDOW: Final = 128 << 20  # bytes

    def __init__(self, stream: Stream) -> None:
        import zstandard

        self._stream = stream
        self._error = zstandard.ZstdError
        decompressor = zstandard.ZstdDecompressor(max_window_size=self._WINDOW)
        # Only `read` is called on it, which is all a Stream promises.
        marked = cast(IO[bytes], _EndMarked(stream))
        self._reader = decompressor.stream_reader(marked, read_across_frames=True)
        self._held = b""  # what may be the end mark

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while size:
            try:
                data: bytes = self._reader.read(size)
            except self._error as error:
                raise LayerError(f"the zstd stream is corrupt: {error}") from error
            if not data:
                if self._held != _END_MARK:
                    raise LayerError("unexpected end of the zstd stream")
                break
            data = self._held + data
            self._held = data[-len(_END_MARK) :]
            if data := data[: -len(_END_MARK)]:
                return data
        return b""

    def close(self) -> None:
        self._stream.close()
