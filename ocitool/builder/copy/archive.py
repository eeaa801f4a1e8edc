"""ADD of an archive: recognised by its content, unpacked into the layer that is being written."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import Final, NamedTuple

from ocitool.errors import LayerError
from ocitool.image.decompress import inflated
from ocitool.layer import xattrs
from ocitool.layer.compression.codecs import CHUNK
from ocitool.layer.entry import WHITEOUT, Entry, Kind, split
from ocitool.layer.fileio import write_all_at
from ocitool.layer.symlinks import resolve
from ocitool.layer.tar.header import BLOCK, verify
from ocitool.layer.tar.reader import TarReader
from ocitool.oci.content import Stream

#: Nanoseconds.  Docker and BuildKit take later times, and those before 1970, for 1970.
_LATEST: Final = 2**63 - 1


class Member(NamedTuple):
    """One member of an archive; ``offset`` is that of its content in the spool."""

    entry: Entry
    offset: int


def is_archive(file: str | int) -> bool:
    """Say whether *file*, a path or a descriptor, is a tar, plain or compressed.

    It must begin with a header.
    Docker decides by the content, never by the name; only regular files count.  What has a header's
    checksum is a tar, even if it is one that cannot be unpacked.
    """
    if not stat.S_ISREG(os.stat(file).st_mode):
        return False  # opening a FIFO would wait for whoever writes to it
    try:
        with _open(file) as stream:
            header = _first_block(stream)
            if header == bytes(BLOCK):
                return False  # the end of an archive that has no member
            verify(header, 0)
    except LayerError:
        return False
    return True


def _first_block(stream: Stream) -> bytes:
    block = b""
    while len(block) < BLOCK:
        data = stream.read(BLOCK - len(block))
        if not data:
            raise LayerError("the file is shorter than a header")
        block += data
    return block


class Spooled:
    """The members of an archive, their content in one unnamed temporary file.

    *file* is a path or a descriptor, *path* what messages call it.
    """

    def __init__(self, file: str | int, scratch: str, path: str = "") -> None:
        self._file = tempfile.TemporaryFile(dir=scratch)
        try:
            self.members = list(self._read(file))
        except BaseException as error:
            self._file.close()
            if isinstance(error, LayerError) and not error.where:
                error.where = path or str(file)
                error.hint = (
                    "make the archive again, or copy it as it is: COPY, or ADD --unpack=false"
                )
            raise

    def _read(self, file: str | int) -> Iterator[Member]:
        fd = self._file.fileno()
        end = 0
        links: dict[str, str] = {}
        with _open(file) as stream:
            reader = TarReader(stream)
            for member in reader:
                _refuse_whiteout(member)
                entry = placed(member, links)
                if entry.xattrs:
                    entry = entry._replace(xattrs=xattrs.capabilities(entry.xattrs))
                if not 0 <= entry.mtime <= _LATEST:
                    entry = entry._replace(mtime=0)
                yield Member(entry, end)
                while data := reader.read(CHUNK):
                    write_all_at(fd, data, end)
                    end += len(data)
            reader.drain()

    def content(self, offset: int, size: int) -> Iterator[bytes]:
        """Yield *size* bytes of content."""
        while size:
            data = os.pread(self._file.fileno(), min(size, CHUNK), offset)
            if not data:
                raise LayerError("a temporary file was truncated")
            offset += len(data)
            size -= len(data)
            yield data

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()


def _refuse_whiteout(entry: Entry) -> None:
    if split(entry.path)[1].startswith(WHITEOUT):
        raise LayerError(
            "a file whose name begins with .wh. cannot be in a layer", where=entry.path
        )


def placed(entry: Entry, links: dict[str, str]) -> Entry:
    """Return *entry* at the path that *links*, those of earlier members, lead to.

    As BuildKit unpacks it: the destination is the root to which links lead.
    """
    if links:
        entry = entry._replace(path=_resolved(entry.path, links))
        if entry.kind == Kind.HARDLINK:
            entry = entry._replace(link=_resolved(entry.link, links))
    links.pop(entry.path, None)
    if entry.kind == Kind.SYMLINK:
        links[entry.path] = entry.link
    return entry


def _resolved(path: str, links: dict[str, str]) -> str:
    """Return *path* with the links in its directories followed."""
    return resolve(path, lambda each: links.get(each, ""), last=False)


@contextlib.contextmanager
def _open(file: str | int) -> Iterator[Stream]:
    """Open the plain tar in a file, which may be compressed."""
    with open(file, "rb", buffering=0, closefd=isinstance(file, str)) as raw:
        raw.seek(0)
        head = raw.read(6)
        raw.seek(0)
        with contextlib.closing(inflated(head, raw)) as stream:
            yield stream
