"""Reading a tar stream: bounded, validated, one member at a time.

Reads ustar, PAX and GNU's long names, sizes beyond octal and old (pre-POSIX) headers; ``tarfile``
costs ten times the I/O.  Sparse members are refused by name.

Source: POSIX.1-2017 pax; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from ocitool.errors import LayerError, TooLarge, UnsupportedEntry
from ocitool.layer import entry as kinds
from ocitool.layer import pax
from ocitool.layer.compression import CHUNK
from ocitool.layer.entry import DEFAULT_LIMITS, Entry, Limits, clean_path, decode
from ocitool.oci.content import Stream

BLOCK: Final = 512  # bytes
_ZEROS: Final = bytes(BLOCK)
_SPARSE: Final = "sparse members cannot be read yet"
_LARGEST_ID: Final = (1 << 32) - 2  # -1 means "unchanged" to chown(2)
_LAST_SECOND: Final = 10**12 - 1  # since the epoch; as many digits as a PAX time may have
_HEADER: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")

_TYPES: Final = {
    b"0": kinds.FILE,
    b"\0": kinds.FILE,
    b"7": kinds.FILE,  # "contiguous", a file everywhere today
    b"1": kinds.HARDLINK,
    b"2": kinds.SYMLINK,
    b"3": kinds.CHAR,
    b"4": kinds.BLOCK,
    b"5": kinds.DIRECTORY,
    b"6": kinds.FIFO,
}


class TarReader:
    """Iterates over the members of a tar; between two steps, `read` gives the member's content.

    ``offset`` is where that content begins in the tar.  Raises `LayerError`, `UnsafePath`,
    `UnsupportedEntry` or `TooLarge`; whatever the input, memory stays within a few chunks.
    """

    def __init__(self, stream: Stream, limits: Limits = DEFAULT_LIMITS) -> None:
        self._stream = stream
        self._limits = limits
        self._buffer = b""
        self._at = 0  # in the buffer
        self._base = 0  # of the buffer, in the tar
        self._left = 0  # content of this member that was not read yet
        self._padding = 0
        self._total = 0
        self._count = 0
        self._name = ""
        self.offset = 0

    def __iter__(self) -> Iterator[Entry]:
        while (header := self._next_header()) is not None:
            entry = self._member(header)
            if entry is None:
                continue
            self._count += 1
            if self._count > self._limits.entries:
                raise TooLarge(f"more than {self._limits.entries} entries")
            self._total += entry.size
            if self._total > self._limits.total:
                raise TooLarge(f"more than {self._limits.total} bytes when unpacked")
            self._name = entry.path
            self.offset = self._base + self._at
            self._open(entry.size)
            yield entry

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes of this member's content, ``b""`` at its end."""
        want = self._left if size < 0 else min(size, self._left)
        if want == 0:
            return b""
        if self._at == len(self._buffer):
            self._fill()
        data = self._buffer[self._at : self._at + want]
        self._at += len(data)
        self._left -= len(data)
        if size < 0 and self._left:
            return data + b"".join(iter(lambda: self.read(CHUNK), b""))
        return data

    def drain(self) -> None:
        """Read what follows the archive's end, so that a digest covers the whole stream."""
        self._buffer, self._at = b"", 0
        while self._stream.read(CHUNK):
            pass

    # -- the stream -------------------------------------------------------------------------

    def _fill(self) -> None:
        self._base += len(self._buffer)
        self._at = 0
        self._buffer = self._stream.read(CHUNK)
        if not self._buffer:
            place = f" inside {self._name!r}" if self._left else ""
            raise LayerError(f"the archive ends too early{place}", hint="fetch the layer again")

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

    def _open(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    # -- headers ----------------------------------------------------------------------------

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
            _verify(header, self._base + self._at - BLOCK)
            kind = header[156:157]
            if kind not in b"xgLKXS":
                return self._entry(header, extended)
            if kind == b"S":
                raise UnsupportedEntry(_SPARSE, where=decode(header[:100].partition(b"\0")[0]))
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
                raise LayerError("an extended header stands alone at the archive's end")

    def _entry(self, header: bytes, extended: dict[str, bytes]) -> Entry | None:
        fields = _HEADER.unpack(header)
        name, mode, uid, gid, size, mtime, _, kind, link, magic, _, _, major, minor, prefix = fields
        if extended and any(key.startswith("GNU.sparse") for key in extended):
            known = extended.get("GNU.sparse.name") or extended.get("path") or name.strip(b"\0")
            raise UnsupportedEntry(_SPARSE, where=decode(known))
        raw = extended.get("path")
        if raw is None:
            raw = name.partition(b"\0")[0]
            # GNU's magic is "ustar  \0"; there the prefix field holds other things.
            if magic == b"ustar\x0000" and prefix[0]:
                raw = prefix.partition(b"\0")[0] + b"/" + raw
        entry_kind = _TYPES.get(kind)
        if entry_kind is None:
            raise UnsupportedEntry(f"type {kind!r} is not known", where=decode(raw))
        if kind == b"\0" and raw.endswith(b"/"):
            entry_kind = kinds.DIRECTORY  # before POSIX a directory was a name with a slash
        length = _value(extended, "size", size)
        if entry_kind != kinds.FILE:
            # Some writers give links and directories the size of what they point to; only the
            # types with content have any (POSIX pax, "size").
            length = 0
        target = extended.get("linkpath")
        target = link.partition(b"\0")[0] if target is None else target
        path = clean_path(decode(raw), self._limits)
        if not path and entry_kind != kinds.DIRECTORY:
            raise LayerError("a member that is not a directory has no name")
        return Entry(
            path,
            entry_kind,
            pax.number(mode, "mode") & 0o7777,
            _bounded(_value(extended, "uid", uid), _LARGEST_ID, "uid"),
            _bounded(_value(extended, "gid", gid), _LARGEST_ID, "gid"),
            length,
            _time(extended, mtime),
            self._target(entry_kind, decode(target), path),
            _device(major, minor) if entry_kind in (kinds.CHAR, kinds.BLOCK) else (0, 0),
            pax.xattrs(extended) if extended else kinds.NO_XATTRS,
        )

    def _target(self, kind: str, target: str, path: str) -> str:
        if kind == kinds.HARDLINK:
            # Absolute hard links stand in layers of kaniko; they mean the layer's own root.
            target = clean_path(target.lstrip("/"), self._limits)
            if not target:
                raise LayerError("a hard link without a target", where=path)
            return target
        if kind != kinds.SYMLINK:
            return ""
        if not target or len(target) > self._limits.path or "\0" in target:
            raise LayerError("a symlink's target is empty, too long or holds a NUL", where=path)
        return target


def _value(extended: dict[str, bytes], name: str, field: bytes) -> int:
    if name in extended:
        return pax.decimal(extended[name], name)
    return pax.number(field, name)


def _bounded(value: int, most: int, what: str) -> int:
    if value > most:
        raise LayerError(f"a header's {what} is beyond what Linux has: {value}")
    return value


def _time(extended: dict[str, bytes], field: bytes) -> int:
    if "mtime" in extended:
        return pax.time(extended["mtime"])
    seconds = pax.number(field, "mtime")
    _bounded(abs(seconds), _LAST_SECOND, "mtime")
    return seconds * 1_000_000_000


def _device(major: bytes, minor: bytes) -> tuple[int, int]:
    return (
        _bounded(pax.number(major, "devmajor"), 0xFFF, "devmajor"),
        _bounded(pax.number(minor, "devminor"), 0xFFFFF, "devminor"),
    )


def _verify(header: bytes, offset: int) -> None:
    # The checksum is the sum of all bytes with its own field as spaces; adler32's low half is
    # that sum modulo 65521, at C speed.
    stored = pax.number(header[148:156], "checksum")
    field = header[148:156]
    total = (zlib.adler32(header) & 0xFFFF) - 1 - sum(field) + 8 * 32
    if (total - stored) % 65521 == 0:
        return
    signed = sum(struct.unpack("512b", header)) - sum(struct.unpack("8b", field)) + 8 * 32
    if signed != stored:  # old Sun tars sum signed bytes
        raise LayerError(f"the header at byte {offset} has a wrong checksum; this is not a tar")
