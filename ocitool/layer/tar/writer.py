"""Writing a tar stream: the same entries give the same bytes on every machine.

Plain ustar where an entry fits it, PAX records for just what does not; no user or group names, no
atime or ctime, times in whole seconds (cut off, as the engines do), two zero blocks at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from zlib import adler32

from ocitool.errors import LayerError
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import Entry, Kind, encode
from ocitool.layer.tar import pax

_BLOCK: Final = 512  # bytes
_ZEROS: Final = bytes(2 * _BLOCK)
_SECOND: Final = 1_000_000_000  # nanoseconds
_FLAGS: Final = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHAR: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_LARGEST_ID: Final = 0o7777777
_LARGEST_SIZE: Final = 0o77777777777


class TarWriter:
    """Writes members to *sink*, in pieces of about a megabyte.

    Call `add` for each entry in order, `content` for the bytes of a file, `close` at the end.
    ``offset`` is how many bytes were written, buffered ones included.
    """

    def __init__(self, sink: Callable[[bytes], object]) -> None:
        self._sink = sink
        self._buffer: list[bytes] = []
        self._sent = 0  # bytes that are not in the buffer any more
        self._left = 0
        self._padding = 0
        self._name = ""
        self.offset = 0

    def add(self, entry: Entry) -> None:
        """Write the header of *entry*; a file's content follows by `content`."""
        path, kind, mode, uid, gid, size, mtime, target, device, xattrs = entry
        self._finish()
        # The root itself is "./": a name must not be absolute.
        name = encode(path or ".") + (b"/" if kind == Kind.DIRECTORY else b"")
        link = encode(target)
        seconds = mtime // _SECOND
        records: list[tuple[str, bytes]] = []
        prefix, short = _split_name(name)
        if short is None:
            records.append(("path", name))
            short = name[:100]
        if len(link) > 100 or not link.isascii():
            records.append(("linkpath", link))
            link = link[:100]
        if size > _LARGEST_SIZE:
            records.append(("size", b"%d" % size))
        if uid > _LARGEST_ID:
            records.append(("uid", b"%d" % uid))
            uid = 0
        if gid > _LARGEST_ID:
            records.append(("gid", b"%d" % gid))
            gid = 0
        if not 0 <= seconds <= _LARGEST_SIZE:
            records.append(("mtime", b"%d" % seconds))
            seconds = 0
        if xattrs:
            records.extend(pax.xattr_records(xattrs))
        if records:
            self._extended(short, records)
        if kind != Kind.FILE:
            size = 0
        shown = size if size <= _LARGEST_SIZE else 0
        flag = _FLAGS[kind]
        self._write(_header(short, prefix, mode, uid, gid, shown, seconds, flag, link, device))
        self._name = path
        self._left = size
        self._padding = -size % _BLOCK

    def content(self, data: bytes) -> None:
        """Write a part of the file's content; `LayerError` beyond its size."""
        if len(data) > self._left:
            raise LayerError("the file grew while it was read", where=self._name)
        self._left -= len(data)
        self._write(data)

    def close(self) -> None:
        """Write the end of the archive, and what is buffered."""
        self._finish()
        self._write(_ZEROS)
        self._flush()

    def _extended(self, name: bytes, records: list[tuple[str, bytes]]) -> None:
        data = pax.dump(records)
        # The name of the extended header itself does not matter; it must only be stable.
        label = b"PaxHeaders/" + name.rstrip(b"/").rpartition(b"/")[2][:80]
        self._write(_header(label, b"", 0o644, 0, 0, len(data), 0, b"x", b"", (0, 0)))
        self._write(data + bytes(-len(data) % _BLOCK))

    def _finish(self) -> None:
        if self._left:
            raise LayerError("the file shrank while it was read", where=self._name)
        if self._padding:
            self._write(_ZEROS[: self._padding])
            self._padding = 0

    def _write(self, data: bytes) -> None:
        self._buffer.append(data)
        self.offset += len(data)
        if self.offset - self._sent >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
            self._buffer, self._sent = [], self.offset
            self._sink(data)


def _split_name(name: bytes) -> tuple[bytes, bytes | None]:
    """Return ustar's prefix and name fields, or None where they cannot hold *name*."""
    if not name.isascii():
        return b"", None
    if len(name) <= 100:
        return b"", name
    if len(name) > 256:
        return b"", None
    cut = name.rfind(b"/", 0, 156)
    # The name field must hold something, and a directory's own trailing slash is no divider.
    if cut <= 0 or not 0 < len(name) - cut - 1 <= 100:
        return b"", None
    return name[:cut], name[cut + 1 :]


def _header(
    name: bytes,
    prefix: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    flag: bytes,
    link: bytes,
    device: tuple[int, int],
) -> bytes:
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        name.ljust(100, b"\0"), mode, uid, gid, size, mtime,
    )  # fmt: skip
    tail = b"%b%bustar\x0000%b%07o\0%07o\0%b" % (
        flag, link.ljust(100, b"\0"), _ZEROS[:64], *device, prefix.ljust(167, b"\0"),
    )  # fmt: skip
    # The low half of adler32 is the sum of all bytes and 1, modulo 65521, at C speed.  No header of
    # ours comes near that: of its names only two, of 100 bytes, may hold more than ASCII.
    total = (adler32(tail, adler32(head)) & 0xFFFF) - 1 + 8 * 32
    return b"%b%06o\0 %b" % (head, total, tail)
