"""The headers of a tar's members, read: ustar's fields, and what extended headers say instead.

Source: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final
from zlib import adler32

from ocitool.errors import LayerError, UnsupportedEntry
from ocitool.layer.entry import NO_XATTRS, Entry, Kind, Limits, clean_path, decode, encode
from ocitool.layer.tar import pax

BLOCK: Final = 512  # bytes
_LARGEST_ID: Final = (1 << 32) - 2  # -1 means "unchanged" to chown(2)
_LAST_SECOND: Final = 10**12 - 1  # since the epoch; as many digits as a PAX time may have
_SECOND: Final = 1_000_000_000  # nanoseconds
_HEADER: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
#: What `Headers.plain` needs of it: mode, uid and gid are one field there.
_PLAIN: Final = struct.Struct("100s24s12s12s6s2sc100x8s80x155s12x")
_USTAR: Final = b"ustar\x0000"
_MOST_OWNERS: Final = 4096

_TYPES: Final = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,  # "contiguous", a file everywhere today
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHAR,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
    b"S": Kind.FILE,  # GNU's, with holes: the size is that of its data
}


class Headers:
    """Turns the headers of one tar into entries."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # The fields of mode, uid and gid as they stand, and what they mean: a tar has few.
        self._owners: dict[bytes, tuple[int, int, int]] = {}

    def plain(self, buffer: bytes, at: int) -> Entry | None:
        """Return the entry of the header at *at* if it is a simple one; None leaves it to `entry`.

        Nothing is taken here that `verify` and `entry` would refuse or read in another way: it is
        for the files and directories that nearly all of a layer consists of.
        """
        name, owner, size, time, checksum, end, kind, magic, prefix = _PLAIN.unpack_from(buffer, at)
        known = self._owners.get(owner)
        size, time = size.rstrip(b"\0 "), time.rstrip(b"\0 ")
        if known is None or kind not in b"05" or end != b"\0 ":
            return None
        if not (size.isdigit() and time.isdigit() and checksum.isdigit()):
            return None
        # As in `verify`; a NUL and a space for eight spaces make seven times 32.
        total = adler32(buffer[at : at + BLOCK]) - adler32(checksum) + 7 * 32
        try:
            if (total & 0xFFFF) != int(checksum, 8):
                return None
            length, mtime = int(size, 8), int(time, 8) * _SECOND
        except ValueError:  # 8 and 9 are digits, but not octal ones
            return None
        raw = name.partition(b"\0")[0]
        if magic == _USTAR and prefix[0]:
            raw = prefix.partition(b"\0")[0] + b"/" + raw
        path = clean_path(decode(raw), self._limits)
        if not path:
            return None
        mode, uid, gid = known
        if kind == b"5":
            return Entry(path, Kind.DIRECTORY, mode, uid, gid, 0, mtime)
        return Entry(path, Kind.FILE, mode, uid, gid, length, mtime)

    def entry(self, header: bytes, extended: Mapping[str, bytes]) -> Entry:
        """Return what *header* says together with the records of its *extended* headers."""
        fields = _HEADER.unpack(header)
        name, mode, uid, gid, size, mtime, _, kind, link, magic, _, _, major, minor, prefix = fields
        raw = extended.get("path")
        if raw is None:
            raw = name.partition(b"\0")[0]
            # GNU's magic is "ustar  \0"; there the prefix field holds other things.
            if magic == _USTAR and prefix[0]:
                raw = prefix.partition(b"\0")[0] + b"/" + raw
        entry_kind = _TYPES.get(kind)
        if entry_kind is None:
            raise UnsupportedEntry(f"type {kind!r} is not known", where=decode(raw))
        if kind == b"\0" and raw.endswith(b"/"):
            entry_kind = Kind.DIRECTORY  # before POSIX a directory was a name with a slash
        length = _value(extended, "size", size)
        if entry_kind != Kind.FILE:
            # Some writers give links and directories the size of what they point to; only the
            # types with content have any (POSIX pax, "size").
            length = 0
        target = extended.get("linkpath")
        target = link.partition(b"\0")[0] if target is None else target
        path = clean_path(decode(raw), self._limits)
        if not path and entry_kind != Kind.DIRECTORY:
            raise LayerError("a member that is not a directory has no name", where=decode(raw))
        found = Entry(
            path,
            entry_kind,
            pax.number(mode, "mode") & 0o7777,
            _bounded(_value(extended, "uid", uid), _LARGEST_ID, "uid"),
            _bounded(_value(extended, "gid", gid), _LARGEST_ID, "gid"),
            length,
            _time(extended, mtime),
            self._target(entry_kind, decode(target), path),
            _device(major, minor) if entry_kind in (Kind.CHAR, Kind.BLOCK) else (0, 0),
            pax.xattrs(extended) if extended else NO_XATTRS,
        )
        if not extended and len(self._owners) < _MOST_OWNERS:
            self._owners[header[100:124]] = (found.mode, found.uid, found.gid)
        return found

    def _target(self, kind: str, target: str, path: str) -> str:
        if kind == Kind.HARDLINK:
            target = clean_path(target, self._limits)
            if not target:
                raise LayerError("the hard link has no target", where=path)
            return target
        if kind != Kind.SYMLINK:
            return ""
        if not target or len(encode(target)) > self._limits.path or "\0" in target:
            raise LayerError("a symlink's target is empty, too long or contains a NUL", where=path)
        return target


def verify(header: bytes, offset: int) -> None:
    """Refuse a *header* whose checksum is wrong; *offset* is where it stands in the tar."""
    # The checksum is the sum of all bytes with its own field as spaces; adler32's low half is
    # that sum modulo 65521, at C speed.
    stored = pax.number(header[148:156], "checksum")
    field = header[148:156]
    total = (adler32(header) & 0xFFFF) - 1 - sum(field) + 8 * 32
    if (total - stored) % 65521 == 0:
        return
    signed = sum(struct.unpack("512b", header)) - sum(struct.unpack("8b", field)) + 8 * 32
    if signed != stored:  # old Sun tars sum signed bytes
        raise LayerError(f"the header at byte {offset} has a wrong checksum: not a tar archive")


def _value(extended: Mapping[str, bytes], name: str, field: bytes) -> int:
    if name in extended:
        return pax.decimal(extended[name], name)
    return pax.number(field, name)


def _bounded(value: int, most: int, what: str) -> int:
    if value > most:
        raise LayerError(f"a header's {what} is out of range: {value}")
    return value


def _time(extended: Mapping[str, bytes], field: bytes) -> int:
    if "mtime" in extended:
        return pax.time(extended["mtime"])
    seconds = pax.number(field, "mtime")
    _bounded(abs(seconds), _LAST_SECOND, "mtime")
    return seconds * _SECOND


def _device(major: bytes, minor: bytes) -> tuple[int, int]:
    return (
        _bounded(pax.number(major, "devmajor"), 0xFFF, "devmajor"),
        _bounded(pax.number(minor, "devminor"), 0xFFFFF, "devminor"),
    )
