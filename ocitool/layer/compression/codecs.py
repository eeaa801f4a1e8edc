"""The codecs there are: by the name that was asked for, by media type, by how data begins."""

from __future__ import annotations

from typing import Final

from ocitool import plugins
from ocitool.errors import LayerError, UnsupportedEntry
from ocitool.layer.codec import CHUNK, Codec, Compressor, chosen
from ocitool.layer.compression.gzip import GZIP
from ocitool.layer.compression.zstd import ZSTD
from ocitool.oci.content import Stream
from ocitool.oci.mediatypes import OCI_LAYER, codec_of

__all__ = [
    "CHUNK",
    "GZIP",
    "NONE",
    "ZSTD",
    "Codec",
    "Compressor",
    "for_layer",
    "for_type",
    "parse",
    "sniff",
]

_GROUP: Final = "ocitool.codecs"


class _Plain:
    name: Final = "none"
    suffix: Final = "none"
    magic: Final = b""
    level: Final = 0

    def compressor(self, level: int | None = None) -> Compressor:
        chosen(self, level, range(1))
        return _Copier()

    def decompress(self, stream: Stream) -> Stream:
        return stream


class _Copier:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


NONE: Final[Codec] = _Plain()


def parse(text: str) -> tuple[Codec, int]:
    """Return codec and level for ``NAME`` or ``NAME:LEVEL``.

    Raises:
        PluginError: there is no codec of that name.
        LayerError: the level is no number; whether the codec has it is seen when it is used.
    """
    name, colon, level = text.partition(":")
    codec: Codec = plugins.lookup(_GROUP, name)
    if not colon:
        return codec, codec.level
    if not (level.isascii() and level.isdigit() and len(level) < 4):
        raise LayerError(f"invalid compression level {level!r}", where=text)
    return codec, int(level)


def for_type(media_type: str) -> Codec:
    """Return the codec that reads a layer; `UnsupportedEntry` if it is of no type we know."""
    try:
        name = codec_of(media_type)
    except UnsupportedEntry:
        name = media_type.removeprefix(f"{OCI_LAYER}+")
        if name not in plugins.names(_GROUP):  # of a plugin
            raise
    codec: Codec = plugins.lookup(_GROUP, name)
    return codec


def for_layer(media_type: str, head: bytes) -> Codec:
    """Return the codec that reads a layer beginning with *head* (6 bytes, if it has as many).

    The content decides, as for docker and podman: some tools write the media type of another
    compression.  Only codecs of plugins are known by the media type alone.

    Raises:
        UnsupportedEntry: the media type is not that of a layer.
    """
    codec = for_type(media_type)
    return codec if codec not in (NONE, GZIP, ZSTD) else sniff(head) or NONE


def sniff(head: bytes) -> Codec | None:
    """Return the codec whose output begins with *head* (6 bytes or more), None for plain data."""
    for codec in (GZIP, ZSTD):
        if head.startswith(codec.magic):
            return codec
    return None
