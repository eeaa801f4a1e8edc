"""Ownership override xattrs, written and read as `ocitool.layer.ownership` does.

Their format is in docs/store-format.md.  A file is an open one, or its name.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import os
import struct
import zlib

OWNER = "user.ocitool.owner"
CHILDREN = "user.ocitool.children"
_GROUP = struct.Struct("<III")
_UNCHANGED = 0xFFFFFFFF  # -1 of chown(2)


def fields_of(file: int | str) -> list[bytes]:
    """Return the fields of the record of a file or directory: UID, GID; more for a device.

    Anything else, which a program may have written, stands for no record.
    """
    fields = _get(file, OWNER).split(b":")
    numbers = fields[:2] + fields[3:]
    if len(fields) not in (2, 5) or not all(map(bytes.isdigit, numbers)):
        return [b"0", b"0"]
    return fields if max(map(int, numbers)) < _UNCHANGED else [b"0", b"0"]


def owner_of(file: int | str) -> tuple[int, int]:
    """Return UID and GID of a file or directory."""
    uid, gid = fields_of(file)[:2]
    return int(uid), int(gid)


def give(file: int | str, uid: int, gid: int) -> None:
    """Record *uid*:*gid* as the owner of a file or directory; a device stays a device."""
    before = fields_of(file)
    fields = before.copy()
    for at, value in enumerate((uid, gid)):
        if value != _UNCHANGED:
            fields[at] = b"%d" % value
    if fields != before:
        os.setxattr(file, OWNER, b":".join(fields))


def make_device(file: int | str, kind: str, major: int, minor: int) -> None:
    """Record that the empty *file* is a device, owned by root; *kind* is "c" or "b"."""
    os.setxattr(file, OWNER, b"0:0:%s:%d:%d" % (kind.encode(), major, minor))


def child_owner(directory: int | str, name: bytes, mtime: int) -> tuple[int, int]:
    """Return UID and GID of the link or pipe *name* in *directory*.

    *mtime* is its time, in nanoseconds since the epoch.
    """
    mark = _checksum(name, mtime)
    for owner, marks in _groups(_get(directory, CHILDREN)).items():
        if mark in marks:
            return owner
    return 0, 0


def give_child(directory: int | str, name: bytes, mtime: int, uid: int, gid: int) -> None:
    """Record *uid*:*gid* as the owner of the link or pipe *name* in *directory*."""
    mark = _checksum(name, mtime)
    groups = _groups(_get(directory, CHILDREN))
    owner = (0, 0)
    for known, marks in groups.items():
        if mark in marks:
            owner = known
            marks.remove(mark)
    owner = (owner[0] if uid == _UNCHANGED else uid, owner[1] if gid == _UNCHANGED else gid)
    if owner != (0, 0):
        groups.setdefault(owner, []).append(mark)
    parts = [_GROUP.pack(*who, len(marks)) + b"".join(marks) for who, marks in groups.items()]
    os.setxattr(directory, CHILDREN, b"".join(parts))


def _checksum(name: bytes, mtime: int) -> bytes:
    return struct.pack("<I", zlib.crc32(name + b"\0%d" % mtime))


def _groups(data: bytes) -> dict[tuple[int, int], list[bytes]]:
    found: dict[tuple[int, int], list[bytes]] = {}
    at = 0
    while at + _GROUP.size <= len(data):
        uid, gid, count = _GROUP.unpack_from(data, at)
        at += _GROUP.size
        end = at + count * 4
        if end > len(data):
            break  # not ours
        found[uid, gid] = [data[i : i + 4] for i in range(at, end, 4)]
        at = end
    return found


def _get(file: int | str, name: str) -> bytes:
    try:
        return os.getxattr(file, name)
    except OSError:  # the file has none
        return b""
