"""Searching files of a layer that are compressed, as they are when they are decompressed.

Compression is recognised by how a file begins.  What is compressed once more inside is not seen.
"""

from __future__ import annotations

import contextlib
from typing import Final

from ocitool.builder.secret_scan.search import Search
from ocitool.errors import LayerError
from ocitool.image.decompress import HEAD, inflated
from ocitool.image.zip_stream import ZIP, ZipStream
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.tar.reader import TarReader
from ocitool.oci.content import Stream
from ocitool.oci.streams import Peeked, Tee

_FREE: Final = 1 << 30  # bytes that all files of a layer may have when decompressed
_RATIO: Final = 32  # and so many more for each byte of them


class CompressedMembers:
    """Searches compressed members of one layer, and keeps the first path of each secret.

    What they unpack to is bounded for all of them together, so that no archive of zeros takes
    hours: then ``cut`` is the path of the first one that was not searched to its end.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._left = _FREE
        self.found: dict[str, str] = {}  # paths by secret
        self.cut = ""

    def take(self, entry: Entry, reader: TarReader) -> None:
        """Search the member *entry*, whose content *reader* gives, if it is compressed."""
        if entry.kind != Kind.FILE or entry.size < HEAD or reader.sparse is not None:
            return
        peeked = Peeked(_Member(reader), HEAD)
        stream = ZipStream(peeked) if peeked.head.startswith(ZIP) else inflated(peeked.head, peeked)
        if stream is peeked:
            return
        self._left += entry.size * _RATIO
        finder = self._search.finder()
        with contextlib.suppress(LayerError):  # what is corrupt, others cannot read either
            while data := stream.read(finder.size):
                finder.feed(data)
                self._left -= len(data)
                if self._left <= 0:
                    self.cut = self.cut or entry.path
                    break
        for secret in finder.found():
            self.found.setdefault(secret, entry.path)


class _Member:
    """The content of a member as a stream, which closes nothing."""

    def __init__(self, reader: TarReader) -> None:
        self._reader = reader

    def read(self, size: int = -1, /) -> bytes:
        return self._reader.read(size)

    def close(self) -> None:
        return None


def search_layer(stream: Stream, search: Search) -> tuple[dict[str, int], CompressedMembers]:
    """Read the tar *stream* of a layer to its end, and search it.

    Returns where each value that is in it first begins, and what is in compressed members.
    """
    finder, members = search.finder(), CompressedMembers(search)
    reader = TarReader(Tee(stream, finder.feed))
    for entry in reader:
        members.take(entry, reader)
    reader.drain()
    return finder.found(), members
