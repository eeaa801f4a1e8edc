"""Finding what changed in a tree, and writing it as a layer.

`changes_in_upper` is for overlay upper directories, `changes_since` for drivers that keep whole
trees.  Both yield the same for the same step, in the layer's order.

Source: OCI image-spec v1.1, layer.md, "Representing Changes"; the kernel's overlayfs.rst.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ocitool.errors import LayerError
from ocitool.layer import ownership
from ocitool.layer.changes.before import Before, Copied
from ocitool.layer.changes.describe import Change, Links, describe
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import (
    DEFAULT_LIMITS,
    WHITEOUT,
    Entry,
    Kind,
    encode,
    kind_of,
)
from ocitool.layer.tar.writer import TarWriter
from ocitool.layer.unpack.lower_layers import entry_of
from ocitool.layer.unpack.whiteouts import is_whiteout

_SECOND: Final = 1_000_000_000


def changes_in_upper(upper: str, opaque: str, before: Before) -> Iterator[Change]:
    """Yield what the overlay directory *upper* adds, replaces and removes.

    *opaque* is the name of the xattr of opaque directories, *before* what the layers below show.
    """
    yield from _Walk(before, opaque=opaque).directory(upper, "", _Place(known=True))


def changes_since(tree: str, before: str, since: int) -> Iterator[Change]:
    """Yield what differs in *tree* from *before*, of which it was a copy at the time *since*.

    *before* is ``""`` where there was nothing.  *since* is a change time (ctime, in nanoseconds)
    taken on the same file system right after the copy was made: nobody can change a file without
    moving its change time past that, so only what is younger is compared at all, and what lies
    beneath a directory that is: a directory that was moved takes older files along.
    """
    place = _Place(known=bool(before), whole=True)
    yield from _Walk(Copied(before), since=since).directory(tree, "", place)


class _Place(NamedTuple):
    """A directory of the step's tree.

    *known*: it was a directory before.  *whole*: what it does not hold is not there any more.
    *moved*: it may have been at another path before.
    """

    known: bool
    whole: bool = False
    moved: bool = False


class _Walk:
    """Compares a tree with the one before.

    A change comes with its parent directories, as docker's and containerd's layers have them.
    What is as it was before is left out, although overlayfs has copied it.
    """

    def __init__(self, before: Before, *, since: int = 0, opaque: str = "") -> None:
        self._before = before
        self._since = since
        self._opaque = opaque  # "": the tree has no whiteouts
        self._links: Links = {}

    def directory(self, host_path: str, path: str, place: _Place) -> Iterator[Change]:
        """Yield what has changed in a directory, what was removed first."""
        found, hidden = [], []
        for name, state in _listing(host_path):
            if kind_of(state.st_mode) and not (self._opaque and is_whiteout(state)):
                found.append((name, state))
            else:
                hidden.append(name)
        if place.known:
            if place.whole:
                names = set(self._before.names(path)) - {name for name, _ in found}
            else:
                names = {name for name in hidden if self._before.look(_join(path, name))}
            for name in sorted(names, key=encode):
                yield Change(Entry(_join(path, WHITEOUT + name), Kind.FILE, 0), "")
        for name, state in found:
            child = _checked(_join(path, name))
            young = place.moved or state.st_ctime_ns >= self._since
            if stat.S_ISDIR(state.st_mode):
                inner = place._replace(moved=young)
                yield from self._subdirectory(f"{host_path}/{name}", child, state, inner)
            elif young:
                known = self._before.look(child) if place.known else None
                yield from self._file(f"{host_path}/{name}", child, state, known)

    def _subdirectory(
        self, host_path: str, path: str, state: os.stat_result, place: _Place
    ) -> Iterator[Change]:
        change = describe(host_path, path, state, self._links)
        assert change is not None  # only sockets have none
        changed = False
        if place.moved:
            known = self._before.look(path) if place.known else None
            place = place._replace(known=known is not None and known.kind == Kind.DIRECTORY)
            changed = known != change.entry
        if self._opaque and not place.whole:
            place = place._replace(whole=_is_opaque(host_path, self._opaque))
        inside = self.directory(host_path, path, place)
        first = next(inside, None)
        if changed or first is not None:
            yield change
        if first is not None:
            yield first
            yield from inside

    def _file(
        self, host_path: str, path: str, state: os.stat_result, known: Entry | None
    ) -> Iterator[Change]:
        # Of a file that the layer has, each name is in it: a clamp has changed its time by now.
        linked = (state.st_dev, state.st_ino) in self._links
        if known is not None and not linked and self._unchanged(host_path, path, state, known):
            return
        change = describe(host_path, path, state, self._links)
        if change is not None:
            yield change

    def _unchanged(self, host_path: str, path: str, state: os.stat_result, known: Entry) -> bool:
        now = entry_of(path, host_path, state)
        if now.kind == Kind.SYMLINK:  # the kernel shows every link's mode as 0777
            known = known._replace(mode=now.mode)
        return (
            now == known
            and state.st_nlink <= self._before.links(path)
            and (not now.size or self._before.same_content(path, host_path))
        )


def _is_opaque(host_path: str, attribute: str) -> bool:
    try:
        # "x" stands for a directory that may hold whiteouts as files; it hides nothing itself.
        return os.getxattr(host_path, attribute, follow_symlinks=False) == b"y"
    except OSError:
        return False


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


def _listing(directory: str) -> list[tuple[str, os.stat_result]]:
    with os.scandir(directory) as found:
        effective = ownership.current().effective
        listing = [
            (entry.name, effective(entry.path, entry.stat(follow_symlinks=False)))
            for entry in found
        ]
    listing.sort(key=lambda item: encode(item[0]))
    return listing


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _checked(path: str) -> str:
    """Return *path*, which a layer can hold; `LayerError` if none can."""
    if path.rpartition("/")[2].startswith(WHITEOUT):
        raise LayerError(
            f"a file whose name begins with {WHITEOUT} cannot be in a layer", where=path
        )
    if path.count("/") >= DEFAULT_LIMITS.depth:
        raise LayerError(
            f"path is more than {DEFAULT_LIMITS.depth} directories deep", where=path[:80] + "..."
        )
    return path
