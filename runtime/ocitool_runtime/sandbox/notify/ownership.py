"""Writing ownership override xattrs, as `ocitool.layer.ownership` reads and writes them.

Their format is in docs/store-format.md.

Runs in: shim.  Imports the standard library alone.
"""

from __future__ import annotations

import os
import struct
import zlib

OWNER = "user.ocitool.owner"
CHILDREN = "user.ocitool.children"
_GROUP = struct.Struct("<III")
_UNCHANGED = 0xFFFFFFFF  # -1 of chown(2)


def give(fd: int, uid: int, gid: int) -> None:
    """Record *uid*:*gid* as the owner of an open file or directory; a device stays a device."""
    fields = _get(fd, OWNER).split(b":")
    if len(fields) not in (2, 5):
        fields = [b"0", b"0"]
    for at, value in enumerate((uid, gid)):
        if value != _UNCHANGED:
            fields[at] = b"%d" % value
    os.setxattr(fd, OWNER, b":".join(fields))


def make_device(fd: int, kind: str, major: int, minor: int) -> None:
    """Record that the empty file *fd* is a device, owned by root; *kind* is "c" or "b"."""
    os.setxattr(fd, OWNER, b"0:0:%s:%d:%d" % (kind.encode(), major, minor))


def give_child(directory: int, name: bytes, mtime: int, uid: int, gid: int) -> None:
    """Record *uid*:*gid* as the owner of the link or pipe *name* in the open *directory*.

    *mtime* is its time, in nanoseconds since the epoch.
    """
    mark = struct.pack("<I", zlib.crc32(name + b"\0%d" % mtime))
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


def _get(fd: int, name: str) -> bytes:
    try:
        return os.getxattr(fd, name)
    except OSError:  # the file has none
        return b""
