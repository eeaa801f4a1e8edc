"""Layers that the conformance suite unpacks, and how they must look when they are mounted."""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Iterable
from typing import Any, Final

from ocitool.layer.entry import OPAQUE, WHITEOUT, Entry, Kind
from ocitool.layer.entry import described as header_of
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.tar.writer import TarWriter

Member = tuple[Entry, bytes]
Owner = tuple[int, int]

TIME: Final = 1_234_567_890  # seconds since the epoch
_NS: Final = 1_000_000_000


def file(path: str, content: bytes = b"", owner: Owner = (0, 0), **fields: Any) -> Member:
    """Return a regular file."""
    size = len(content)
    return _entry(path, Kind.FILE, owner, {"size": size, "mode": 0o644, **fields}), content


def directory(path: str, owner: Owner = (0, 0), mode: int = 0o755) -> Member:
    """Return a directory."""
    return _entry(path, Kind.DIRECTORY, owner, {"mode": mode}), b""


def symlink(path: str, target: str, owner: Owner = (0, 0)) -> Member:
    """Return a symbolic link."""
    return _entry(path, Kind.SYMLINK, owner, {"mode": 0o777, "link": target}), b""


def hardlink(path: str, target: str, owner: Owner = (0, 0), **fields: Any) -> Member:
    """Return another name of *target*, which gets the attributes of this member."""
    return _entry(path, Kind.HARDLINK, owner, {"link": target, **fields}), b""


def fifo(path: str, owner: Owner = (0, 0)) -> Member:
    """Return a named pipe."""
    return _entry(path, Kind.FIFO, owner, {"mode": 0o600}), b""


def whiteout(path: str, owner: Owner = (0, 0)) -> Member:
    """Return the whiteout of *path*."""
    parent, _, name = path.rpartition("/")
    return file(f"{parent}/{WHITEOUT}{name}".lstrip("/"), owner=owner)


def opaque(path: str, owner: Owner = (0, 0)) -> Member:
    """Return the opaque whiteout of the directory *path*."""
    return file(f"{path}/{OPAQUE}", owner=owner)


def _entry(path: str, kind: str, owner: Owner, fields: dict[str, Any]) -> Entry:
    uid, gid = owner
    return Entry(path, kind, uid=uid, gid=gid, mtime=TIME * _NS, **fields)


def tar(members: Iterable[Member]) -> io.BytesIO:
    """Return the layer with *members*."""
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry, content in members:
        writer.add(entry)
        if content:
            writer.content(content)
    writer.close()
    out.seek(0)
    return out


def stream(data: bytes) -> io.BytesIO:
    """Return *data* as a stream of a layer."""
    return io.BytesIO(data)


def entries_of(data: bytes) -> dict[str, Entry]:
    """Return the entries of a layer by their paths."""
    return {entry.path: entry for entry in TarReader(io.BytesIO(data))}


def full(owner: Owner) -> list[Member]:
    """Return a layer with everything in it that its owner may make."""
    return [
        directory("d", owner, 0o2750),
        file("d/f", b"content\0" * 5000, owner, mode=0o640),
        file("d/program", b"#!", owner, mode=0o4755),
        file("d/marked", b"m", owner, xattrs={"user.note": b"a\0b"}),
        hardlink("d/g", "d/f", owner, mode=0o640),
        symlink("d/link", "../nowhere", owner),
        symlink("up", "d", owner),
        fifo("d/pipe", owner),
        file("empty", b"", owner),
        file("n\u00e4m\udcff \n\\", b"bytes that are no UTF-8", owner),
    ]


def closed(owner: Owner) -> list[Member]:
    """Return a directory that only root may write to, and a file in it."""
    return [directory("closed", owner, 0o555), file("closed/in", b"in", owner)]


def described(members: Iterable[Member]) -> dict[str, dict[str, Any]]:
    """Return what `harness.LIST` must print for the layer with *members*."""
    found: dict[str, dict[str, Any]] = {}
    linked = {entry.link: entry for entry, _ in members if entry.kind == Kind.HARDLINK}
    for entry, content in members:
        if entry.kind == Kind.HARDLINK:
            found[entry.path] = found[entry.link] = {**found[entry.link], "linked": True}
            continue
        if entry.path in linked:  # of several names of a file the last header counts
            entry = header_of(entry, linked[entry.path])
        known: dict[str, Any] = {
            "mode": oct(entry.mode | _BITS[entry.kind]),
            "owner": [entry.uid, entry.gid],
        }
        if entry.kind == Kind.SYMLINK:
            known["link"] = entry.link
        else:
            known["time"] = entry.mtime // _NS
        if entry.kind == Kind.FILE:
            known["content"] = hashlib.sha256(content).hexdigest()
            known["linked"] = False
        if entry.xattrs:
            known["xattrs"] = {name: value.hex() for name, value in entry.xattrs.items()}
        found[entry.path] = known
    return found


_BITS: Final = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.FIFO: stat.S_IFIFO,
}
