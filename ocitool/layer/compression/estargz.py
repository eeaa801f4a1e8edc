"""eStargz: gzip of which single files can be fetched, with a table of contents at its end.

It is a layer as any other, and read as gzip.  Each file is gzip members of its own, and what it
holds stands in a table (`toc`), which is the tar's last file.  So the tar that comes out is not
quite the one that went in: a landmark file, which says that nothing is to be fetched ahead, and
the table are added.  Who unpacks it without knowing of them sees two files more.

Source: containerd's stargz-snapshotter, docs/estargz.md.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from typing import Final

from ocitool.errors import LayerError, TooLarge
from ocitool.layer.codec import Codec, Compressor, chosen
from ocitool.layer.compression.gzip import GZIP, LEVELS, deflater, member
from ocitool.layer.compression.toc import (
    CHUNK_SIZE,
    DIGEST_ANNOTATION,
    INSTEAD,
    TABLE,
    Chunk,
    File,
    dump,
    require_text,
)
from ocitool.layer.entry import DEFAULT_LIMITS, Entry, Kind
from ocitool.layer.tar import pax
from ocitool.layer.tar.header import BLOCK
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.tar.writer import TarWriter
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest

_LANDMARK: Final = ".no.prefetch.landmark"
_RESERVED: Final = frozenset((TABLE, _LANDMARK, ".prefetch.landmark"))
_ZEROS: Final = bytes(BLOCK)


class Estargz:
    """The codec."""

    name: Final = "estargz"
    suffix: Final = "gzip"
    magic: Final = GZIP.magic
    level: Final = GZIP.level

    def compressor(self, level: int | None = None) -> Compressor:
        return _EstargzCompressor(deflater(chosen(self, level, LEVELS)))

    def decompress(self, stream: Stream) -> Stream:
        return GZIP.decompress(stream)


ESTARGZ: Final[Codec] = Estargz()


class _EstargzCompressor:
    """Cuts a tar into gzip members; ``diff_id`` and ``annotations`` hold after `flush`."""

    def __init__(self, deflate: Callable[[bytes], bytes]) -> None:
        self._deflate = deflate
        self._plain = hashlib.sha256()
        self._offset = 0  # in the blob
        self._out: list[bytes] = []
        self._buffer = bytearray()  # of the tar, what was not looked at yet
        self._between = bytearray()  # headers and padding up to the next content
        self._file: _Content | None = None  # that is being read
        self._padding = 0
        self._ended = False
        self._files: list[File] = []
        self.diff_id = Digest.of(b"")
        self.annotations: Mapping[str, str] = {}

    def compress(self, data: bytes, /) -> bytes:
        if not self._ended:  # what may follow the archive's end is not kept
            self._buffer += data
            self._advance()
        return self._taken()

    def flush(self) -> bytes:
        if self._buffer or self._file is not None or self._padding:
            raise LayerError("unexpected end of the archive")
        self._ended = True
        self._buffer += _tar(Entry(_LANDMARK, Kind.FILE, 0o444), b"\x0f")
        self._advance()
        self._member(bytes(self._between))
        table = dump(self._files)
        self.annotations = {DIGEST_ANNOTATION: str(Digest.of(table))}
        start = self._offset
        self._member(_tar(Entry(TABLE, Kind.FILE, 0o444), table) + 2 * _ZEROS)
        self._out.append(footer(start))
        self.diff_id = Digest("sha256", self._plain.hexdigest())
        return self._taken()

    def _taken(self) -> bytes:
        taken, self._out = b"".join(self._out), []
        return taken

    def _advance(self) -> None:
        """Look at as much of the buffer as there is whole."""
        while self._content() if self._file is not None else self._header():
            continue

    def _content(self) -> bool:
        """Take the next part of a file's content if it is there."""
        assert self._file is not None
        size = min(CHUNK_SIZE, self._file.left)
        if len(self._buffer) < size:
            return False
        data = self._cut(size)
        self._file.take(data, self._offset)
        self._member(data)
        if not self._file.left:
            self._files.append(self._file.done())
            self._file = None
        return True

    def _header(self) -> bool:
        """Read the padding of the last content and, if complete, the next member's headers."""
        padding = self._cut(min(self._padding, len(self._buffer)))
        self._between += padding
        self._padding -= len(padding)
        if self._padding or len(self._buffer) < BLOCK:
            return False
        if self._buffer[:BLOCK] == _ZEROS:
            self._buffer.clear()
            self._ended = True
            return False
        size = _length(self._buffer)
        if len(self._buffer) < size:
            return False
        headers = self._cut(size)
        self._between += headers
        for entry in TarReader(io.BytesIO(headers)):
            self._begin(entry)
            break
        return True

    def _begin(self, entry: Entry) -> None:
        if entry.path in _RESERVED and not self._ended:
            raise LayerError("name is reserved for eStargz", where=entry.path, hint=INSTEAD)
        require_text(entry)
        if not entry.size:
            self._files.append(File(entry))
            return
        self._member(bytes(self._between))
        self._between.clear()
        self._file = _Content(entry)
        self._padding = -entry.size % BLOCK

    def _cut(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _member(self, data: bytes) -> None:
        self._plain.update(data)
        packed = member(data, self._deflate)
        self._offset += len(packed)
        self._out.append(packed)


class _Content:
    """The content of one file while it comes."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._hash = hashlib.sha256()
        self._chunks: list[Chunk] = []
        self.left = entry.size

    def take(self, data: bytes, offset: int) -> None:
        """Add the next chunk, which begins at *offset* of the blob."""
        self._hash.update(data)
        at = self._entry.size - self.left
        self._chunks.append(Chunk(offset, at, len(data), str(Digest.of(data))))
        self.left -= len(data)

    def done(self) -> File:
        digest = f"sha256:{self._hash.hexdigest()}"
        return File(self._entry, digest, tuple(self._chunks))


def footer(table: int) -> bytes:
    """Return the blob's last 51 bytes: an empty gzip member that says where the *table* begins."""
    note = b"SG" + (22).to_bytes(2, "little") + b"%016xSTARGZ" % table
    flags = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
    empty = b"\x01\x00\x00\xff\xff" + bytes(8)
    return flags + len(note).to_bytes(2, "little") + note + empty


def _length(buffer: bytearray) -> int:
    """Return how long the headers of the next member are, or what is needed to tell."""
    at = 0
    while len(buffer) >= at + BLOCK:
        kind = buffer[at + 156 : at + 157]
        size = pax.number(bytes(buffer[at + 124 : at + 136]), "size")
        if kind == b"S" or (kind in b"xX" and b" GNU.sparse." in buffer[at : at + BLOCK + size]):
            raise LayerError("sparse files cannot be in an eStargz layer", hint=INSTEAD)
        if kind not in b"xgLKX":
            break
        at += BLOCK + size + -size % BLOCK
        if at > 2 * DEFAULT_LIMITS.pax:
            raise TooLarge(f"extended headers of more than {DEFAULT_LIMITS.pax} bytes")
    return at + BLOCK


def _tar(entry: Entry, content: bytes) -> bytes:
    """Return one member without an end of the archive."""
    out = bytearray()
    writer = TarWriter(out.extend)
    writer.add(entry._replace(size=len(content)))
    writer.content(content)
    writer.close()
    return bytes(out[: -2 * BLOCK])
