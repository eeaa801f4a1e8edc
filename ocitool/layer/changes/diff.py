"""Finding what changed in a tree, and writing it as a layer.

`changes_in_upper` reads an overlay upper directory alone, never the tree below it;
`changes_since` is for drivers that keep whole trees.  Both yield entries in the layer's order.

Source: OCI image-spec v1.1, layer.md, "Representing Changes"; the kernel's overlayfs.rst.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

from ocitool.errors import LayerError
from ocitool.layer import ownership, xattrs
from ocitool.layer.changes.describe import Change, Links, describe
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import (
    DEFAULT_LIMITS,
    OPAQUE,
    WHITEOUT,
    Entry,
    Kind,
    encode,
    kind_of,
)
from ocitool.layer.tar.writer import TarWriter
from ocitool.layer.unpack.lower_layers import Look
from ocitool.layer.whiteouts import is_whiteout

_SECOND: Final = 1_000_000_000


def changes_in_upper(upper: str, opaque: str, look: Look = lambda path: None) -> Iterator[Change]:
    """Yield what the overlay directory *upper* adds, replaces and removes.

    *opaque* is the name of the xattr of opaque directories.  *look* returns what the layers below
    have: a directory that overlayfs has copied up, and in which nothing has changed in the end, is
    left out.
    """
    yield from _Upper(opaque, {}, look).walk(upper, "")


class _Upper:
    def __init__(self, opaque: str, links: Links, look: Look) -> None:
        self._opaque = opaque
        self._links = links
        self._look = look

    def walk(self, directory: str, path: str) -> Iterator[Change]:
        for name, state in _listing(directory):
            host_path = f"{directory}/{name}"
            child = _child(path, name)
            if is_whiteout(state):
                yield _removed(path, name)
                continue
            change = describe(host_path, child, state, self._links)
            if change is None:
                continue
            if change.entry.kind != Kind.DIRECTORY:
                yield change
            else:
                yield from self._directory(change, state)

    def _directory(self, change: Change, state: os.stat_result) -> Iterator[Change]:
        path, host_path = change.entry.path, change.host_path
        is_opaque = self._is_opaque(host_path)
        inside = self.walk(host_path, path)
        first = next(inside, None)
        if first is None and not is_opaque and self._unchanged(path, host_path, state):
            return
        yield change
        if is_opaque:
            yield Change(Entry(f"{path}/{OPAQUE}", Kind.FILE, 0), "")
        if first is not None:
            yield first
            yield from inside

    def _unchanged(self, path: str, host_path: str, state: os.stat_result) -> bool:
        known = self._look(path)
        return (
            known is not None
            and known.kind == Kind.DIRECTORY
            and known[2:5] == (stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid)
            and known.mtime == state.st_mtime_ns
            and known.xattrs == xattrs.read(host_path)
        )

    def _is_opaque(self, host_path: str) -> bool:
        try:
            # "x" stands for a directory that may hold whiteouts as files; it hides nothing itself.
            return os.getxattr(host_path, self._opaque, follow_symlinks=False) == b"y"
        except OSError:
            return False


def changes_since(tree: str, before: str, since: int) -> Iterator[Change]:
    """Yield what differs in *tree* from *before*, of which it was a copy at the time *since*.

    *before* is ``""`` where there was nothing.  *since* is a change time (ctime, in nanoseconds)
    taken on the same file system right after the copy was made: nobody can change a file without
    moving its change time past that, so only what is younger is compared at all, and what lies
    beneath a directory that is: a directory that was moved takes older files along.
    """
    yield from _Copy(since, {}).walk(tree, before, "", moved=False)


class _Copy:
    def __init__(self, since: int, links: Links) -> None:
        self._since = since
        self._links = links

    def walk(self, tree: str, before: str, path: str, *, moved: bool) -> Iterator[Change]:
        now = _listing(tree)
        if before:
            found = {name for name, state in now if kind_of(state.st_mode)}
            for name in sorted(set(os.listdir(before)) - found, key=encode):
                yield _removed(path, name)
        for name, state in now:
            host_path, old = f"{tree}/{name}", f"{before}/{name}" if before else ""
            child = _child(path, name)
            young = moved or state.st_ctime_ns >= self._since
            if young and not (old and self._same(host_path, state, old)):
                change = describe(host_path, child, state, self._links)
                if change is not None:
                    yield change
            if stat.S_ISDIR(state.st_mode):
                inner = old if old and _is_directory(old) else ""
                yield from self.walk(host_path, inner, child, moved=young)

    def _same(self, host_path: str, state: os.stat_result, old: str) -> bool:
        try:
            was = ownership.current().effective(old, os.lstat(old))
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not _same_attributes(state, was) or xattrs.read(host_path) != xattrs.read(old):
            return False
        if stat.S_ISREG(state.st_mode):
            return state.st_size == was.st_size and same_content(host_path, old)
        return not stat.S_ISLNK(state.st_mode) or os.readlink(host_path) == os.readlink(old)


def write_changes(
    changes: Iterator[Change], sink: Callable[[bytes], object], *, clamp: int | None = None
) -> int:
    """Write *changes* as a tar to *sink*; returns how many there were.

    *clamp* (seconds since the epoch) is the latest time an entry may have: SOURCE_DATE_EPOCH.
    The files themselves get it, too, so that the tree is what the layer unpacks to.
    """
    writer = TarWriter(sink)
    count = 0
    for entry, host_path in changes:
        count += 1
        if clamp is not None and entry.mtime > clamp * _SECOND:
            entry = entry._replace(mtime=clamp * _SECOND)
            if host_path:
                ownership.current().date(host_path, entry)
        writer.add(entry)
        if entry.size:
            copy_content(writer, host_path, entry.size)
    writer.close()
    return count


def copy_content(writer: TarWriter, host_path: str, size: int) -> None:
    """Write the content of the file *host_path*, which must still have *size* bytes."""
    fd = os.open(host_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        left = size
        while left:
            data = os.read(fd, min(left, CHUNK))
            if not data:
                raise LayerError("the file shrank while it was read", where=host_path)
            writer.content(data)
            left -= len(data)
    finally:
        os.close(fd)


def _same_attributes(now: os.stat_result, was: os.stat_result) -> bool:
    return all(
        getattr(now, name) == getattr(was, name)
        for name in ("st_mode", "st_uid", "st_gid", "st_rdev", "st_mtime_ns")
    )


def _listing(directory: str) -> list[tuple[str, os.stat_result]]:
    with os.scandir(directory) as found:
        effective = ownership.current().effective
        listing = [
            (entry.name, effective(entry.path, entry.stat(follow_symlinks=False)))
            for entry in found
        ]
    listing.sort(key=lambda item: encode(item[0]))
    return listing


def _is_directory(path: str) -> bool:
    """Say whether *path* is a directory, and neither nothing nor a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _removed(path: str, name: str) -> Change:
    whiteout = f"{path}/{WHITEOUT}{name}" if path else WHITEOUT + name
    return Change(Entry(whiteout, Kind.FILE, 0), "")


def _child(path: str, name: str) -> str:
    if name.startswith(WHITEOUT):
        raise LayerError(
            f"a file whose name begins with {WHITEOUT} cannot be in a layer", where=f"{path}/{name}"
        )
    child = f"{path}/{name}" if path else name
    if child.count("/") >= DEFAULT_LIMITS.depth:
        raise LayerError(
            f"path is more than {DEFAULT_LIMITS.depth} directories deep", where=child[:80] + "..."
        )
    return child


def same_content(one: str, other: str) -> bool:
    """Say whether two files hold the same bytes."""
    with open(one, "rb", buffering=0) as a, open(other, "rb", buffering=0) as b:
        while True:
            left, right = a.read(CHUNK), b.read(CHUNK)
            if left != right:
                return False
            if not left:
                return True
