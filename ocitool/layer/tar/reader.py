"""Reading a tar stream: bounded, validated, one member at a time.

Reads ustar, PAX and GNU's long names, sizes beyond octal and old (pre-POSIX) headers; ``tarfile``
costs ten times the I/O.  Sparse members come with their holes filled.

Source: POSIX.1-2017 pax; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ocitool.errors import LayerError, TooLarge
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import DEFAULT_LIMITS, Entry, Kind, Limits
from ocitool.layer.tar import pax, sparse
from ocitool.layer.tar.header import BLOCK, Headers, verify
from ocitool.layer.tar.sparse import Filler, Spans
from ocitool.oci.content import Stream

_ZEROS: Final = bytes(BLOCK)


class TarReader:
    """Iterates over the members of a tar; between two steps, `read` gives the member's content.

    ``offset`` is where that content begins in the tar.  ``sparse`` is None for nearly all members;
    for a sparse file it lists its data segments, which are stored at ``offset`` one after the
    other.  Raises `LayerError`, `UnsafePath`, `UnsupportedEntry` or `TooLarge`; whatever the
    input, memory stays within a few chunks and the map of one sparse file.
    """

    def __init__(self, stream: Stream, limits: Limits = DEFAULT_LIMITS) -> None:
        self._stream = stream
        self._limits = limits
        self._headers = Headers(limits)
        self._buffer = b""
        self._at = 0  # in the buffer
        self._base = 0  # of the buffer, in the tar
        self._left = 0  # content of this member that was not read yet
        self._padding = 0
        self._total = 0
        self._count = 0
        self._name = ""
        self._filler: Filler | None = None
        self.offset = 0
        self.sparse: Spans | None = None

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._plain() or self._any()) is not None:
            self._count += 1
            if self._count > self._limits.entries:
                raise TooLarge(f"more than {self._limits.entries} entries")
            self._total += entry.size
            if self._total > self._limits.total:
                raise TooLarge(f"more than {self._limits.total} bytes when unpacked")
            self._name = entry.path
            self.offset = self._base + self._at
            yield entry

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes of this member's content, ``b""`` at its end."""
        if self._filler is not None:
            return self._filler.read(size)
        return self._data(size)

    def runs(self) -> Iterator[tuple[int, bytes]]:
        """Yield this member's data in pieces with their offsets in the file, holes left out.

        It is another way to `read`; one of the two is to be used for a member.
        """
        for at, left in ((0, self._left),) if self.sparse is None else self.sparse:
            while left:
                data = self._data(min(CHUNK, left))
                yield at, data
                at += len(data)
                left -= len(data)

    def _data(self, size: int) -> bytes:
        want = self._left if size < 0 else min(size, self._left)
        if want == 0:
            return b""
        if self._at == len(self._buffer):
            self._fill()
        data = self._buffer[self._at : self._at + want]
        self._at += len(data)
        self._left -= len(data)
        if size < 0 and self._left:
            return data + b"".join(iter(lambda: self._data(CHUNK), b""))
        return data

    def drain(self, most: int | None = None) -> int:
        """Read what follows the archive's end; returns how many bytes the whole stream had.

        *most* bytes may follow where a stream may have no end; `TooLarge` if there are more.
        """
        end = size = self._base + len(self._buffer)
        while data := self._stream.read(CHUNK):
            size += len(data)
            if most is not None and size - end > most:
                raise TooLarge(
                    f"more than {most >> 20} MiB follow the end of the archive",
                    hint="the input may be an endless device, or several archives in one",
                )
        self._base, self._buffer, self._at = size, b"", 0
        return size

    # -- the stream -------------------------------------------------------------------------

    def _fill(self) -> None:
        self._base += len(self._buffer)
        self._at = 0
        self._buffer = self._stream.read(CHUNK)
        if not self._buffer:
            place = f" inside {self._name!r}" if self._left else ""
            raise LayerError(f"unexpected end of the archive{place}")

    def _exactly(self, size: int) -> bytes:
        end = self._at + size
        if end <= len(self._buffer):
            data = self._buffer[self._at : end]
            self._at = end
            return data
        pieces = []
        while size:
            if self._at == len(self._buffer):
                self._fill()
            piece = self._buffer[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _skip(self, size: int) -> None:
        while size:
            if self._at == len(self._buffer):
                self._fill()
            step = min(size, len(self._buffer) - self._at)
            self._at += step
            size -= step

    # -- headers ----------------------------------------------------------------------------

    def _plain(self) -> Entry | None:
        """Read the next header if it is whole in the buffer and a simple one."""
        at = self._at + self._left + self._padding
        if at + BLOCK > len(self._buffer):
            return None
        entry = self._headers.plain(self._buffer, at)
        if entry is not None:
            self._at = at + BLOCK
            self.sparse = self._filler = None
            self._left = size = entry.size
            self._padding = -size % BLOCK
        return entry

    def _any(self) -> Entry | None:
        """Read the next header, whatever it is; None at the archive's end."""
        while (header := self._next_header()) is not None:
            entry = self._member(header)
            if entry is not None:
                return entry
        return None

    def _next_header(self) -> bytes | None:
        self._skip(self._left + self._padding)
        self._left = self._padding = 0
        if self._at == len(self._buffer):
            self._base += len(self._buffer)
            self._at = 0
            self._buffer = self._stream.read(CHUNK)
            if not self._buffer:  # no end-of-archive blocks: GNU tar and Go accept this, too
                return None
        header = self._exactly(BLOCK)
        return None if header == _ZEROS else header

    def _member(self, header: bytes) -> Entry | None:
        """Read one header with the extended headers before it; None for what has no member."""
        extended: dict[str, bytes] = {}
        left = self._limits.pax
        while True:
            verify(header, self._base + self._at - BLOCK)
            kind = header[156:157]
            if kind not in b"xgLKX":
                return self._content(header, extended)
            size = pax.number(header[124:136], "size")
            left -= size
            if left < 0:
                raise TooLarge(f"extended headers of more than {self._limits.pax} bytes")
            data = self._exactly(size)
            self._skip(-size % BLOCK)
            # Global headers (g) carry comments such as git's commit; the engines ignore them.
            if kind in b"xX":
                pax.merge(extended, pax.parse(data))
            elif kind == b"L":
                extended["path"] = data.rstrip(b"\0")
            elif kind == b"K":
                extended["linkpath"] = data.rstrip(b"\0")
            if kind == b"g" and not extended:
                return None
            header = self._exactly(BLOCK)
            if header == _ZEROS:
                raise LayerError("no member follows the extended header at the archive's end")

    def _content(self, header: bytes, extended: dict[str, bytes]) -> Entry:
        """Return the member that *header* begins, ready for its content to be read."""
        self.sparse = self._filler = None
        is_sparse = header[156:157] == b"S" or sparse.is_declared(extended)
        if is_sparse and (name := sparse.name(extended)):
            extended["path"] = name
        entry = self._headers.entry(header, extended)
        self._left = entry.size
        self._padding = -entry.size % BLOCK
        if not is_sparse:
            return entry
        try:
            return self._with_holes(entry, header, extended)
        except LayerError as error:
            error.where = error.where or entry.path
            raise

    def _with_holes(self, entry: Entry, header: bytes, extended: dict[str, bytes]) -> Entry:
        if entry.kind != Kind.FILE:
            raise LayerError("only a regular file can be sparse")
        most = self._limits.spans
        if header[156:157] == b"S":
            found = sparse.of_header(header, lambda: self._exactly(BLOCK), most)
        else:
            found = sparse.of_records(extended, self._block_of_content, most)
        if sum(length for _, length in found.spans) != self._left:
            raise LayerError("the map of a sparse file does not fit its data")
        self.sparse = found.spans
        self._filler = Filler(found, self._data)
        return entry._replace(size=found.size)

    def _block_of_content(self) -> bytes:
        if self._left < BLOCK:
            raise LayerError("the map of a sparse file is corrupt")
        self._left -= BLOCK
        return self._exactly(BLOCK)
