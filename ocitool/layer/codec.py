"""The seam for compression: what a codec is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from ocitool.errors import LayerError
from ocitool.oci.content import Stream

if TYPE_CHECKING:  # hashing takes a driver's worker longer to import than the rest of this
    from ocitool.oci.digest import Digest

CHUNK: Final = 1 << 20  # bytes; large enough that threads do not fight for the interpreter


class Compressor(Protocol):
    """Compresses one stream, which comes in pieces of `CHUNK` bytes; the last may be shorter."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


@runtime_checkable
class Rewriter(Protocol):
    """A compressor that adds to the tar, as formats with a table of contents do."""

    diff_id: Digest
    """Of the tar with what was added; it holds after `flush`."""
    annotations: Mapping[str, str]
    """What the blob's descriptor has to say of it; it holds after `flush`."""


class Codec(Protocol):
    """One way to compress layers.

    A distribution adds one by an entry point of the group ``ocitool.codecs``: its name is the
    codec's, its value ``module:object``, the object having what is listed here, and no base class.

        [project.entry-points."ocitool.codecs"]
        brotli = "ocitool_brotli:CODEC"

    The same bytes in must give the same bytes out, on any number of threads.  Compressors are used
    in other threads than the one that made them; one may be a `Rewriter` as well.
    """

    @property
    def name(self) -> str: ...
    @property
    def suffix(self) -> str:
        """What a layer's media type has after its ``+``: the name of the codec that reads it.

        It is the codec's own name, unless what it writes is a kind of something that exists; a
        layer's media type without an ending stands for "none".
        """

    @property
    def magic(self) -> bytes:
        """How the output begins."""

    @property
    def level(self) -> int:
        """The level that is taken when none is asked for."""

    def compressor(self, level: int | None = None) -> Compressor:
        """Return a new compressor; `LayerError` for a level that there is not."""

    def decompress(self, stream: Stream) -> Stream:
        """Return the plain content of *stream*; corrupt input raises `LayerError` on `read`.

        Memory stays bounded whatever the input claims, and closing closes *stream*.
        """


def chosen(codec: Codec, level: int | None, levels: range) -> int:
    """Return *level*, or that of *codec*; `LayerError` if *levels* do not contain it."""
    if level is None:
        return codec.level
    if level not in levels:
        raise LayerError(
            f"invalid compression level {level} for {codec.name}",
            hint=f"supported levels: {levels[0]} to {levels[-1]}",
        )
    return level
