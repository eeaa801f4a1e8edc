"""Tars made and read in memory, member by member."""

from __future__ import annotations

import io
import os

from ocitool.layer.entry import DEFAULT_LIMITS, Entry, Kind
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.tar.writer import TarWriter

E = Entry


def tar(*members, end=True):
    """Write *members*: an `Entry`, or an entry and its content (which gives its size)."""
    out = bytearray()
    writer = TarWriter(out.extend)
    for member in members:
        entry, content = member if isinstance(member[0], Entry) else (member, b"")
        writer.add(entry._replace(size=len(content)) if content else entry)
        if content:
            writer.content(content)
    writer.close()
    return bytes(out if end else out[:-1024])


def file(path, content=b"", **fields):
    """A file as `tar` takes it."""
    return (E(path, Kind.FILE, **fields), content) if content else E(path, Kind.FILE, **fields)


def directory(path, mode=0o755, **fields):
    """A directory as `tar` takes it."""
    return E(path, Kind.DIRECTORY, mode, **fields)


def link(path, target, **fields):
    """A hard link as `tar` takes it."""
    return E(path, Kind.HARDLINK, link=target, **fields)


def symlink(path, target, **fields):
    """A symlink as `tar` takes it."""
    return E(path, Kind.SYMLINK, 0o777, link=target, **fields)


def mine(*members):
    """A tar whose members belong to who runs the tests, where they would be root's."""
    ours = []
    for member in members:
        entry, *content = member if isinstance(member[0], Entry) else (member,)
        entry = entry._replace(uid=entry.uid or os.geteuid(), gid=entry.gid or os.getegid())
        ours.append((entry, *content) if content else entry)
    return tar(*ours)


def members(data, limits=DEFAULT_LIMITS):
    """Read a tar whole: its entries and their contents."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    reader = TarReader(stream, limits)
    found = [(entry, reader.read()) for entry in reader]
    reader.drain()
    return found


def header(name=b"x", *, kind=b"0", size=b"0", **fields):
    """A ustar header with raw fields, its checksum right."""
    parts = {
        "mode": b"644", "uid": b"0", "gid": b"0", "mtime": b"0", "link": b"",
        "magic": b"ustar\x0000", "major": b"", "minor": b"", "prefix": b"", **fields,
    }  # fmt: skip
    head = name.ljust(100, b"\0")
    for field, length in (("mode", 8), ("uid", 8), ("gid", 8)):
        head += parts[field].ljust(length, b"\0")
    head += size.ljust(12, b"\0") + parts["mtime"].ljust(12, b"\0")
    tail = kind + parts["link"].ljust(100, b"\0") + parts["magic"] + bytes(64)
    tail += parts["major"].ljust(8, b"\0") + parts["minor"].ljust(8, b"\0")
    tail += parts["prefix"].ljust(167, b"\0")
    total = sum(head) + sum(tail) + 8 * 32
    return head + b"%06o\0 " % total + tail


def extended(records, kind=b"x"):
    """An extended header with *records*, bytes as they are."""
    return header(b"pax", kind=kind, size=b"%o" % len(records)) + padded(records)


def padded(data):
    """*data* with zeros up to a whole block."""
    return data + bytes(-len(data) % 512)


def record(key, value):
    """One PAX record."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(b"%d" % length):
        length = len(body) + len(b"%d" % length)
    return b"%d" % length + body
