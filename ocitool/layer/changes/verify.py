"""Comparing a tree on disk with the tar it was unpacked from; nothing is changed.

What the machine may refuse when a layer is unpacked is no difference: device nodes, attributes that
the file system does not take, times before 1970 or after 2038.  Nor are parts of a second, which
our own tars leave out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from ocitool.layer import ownership, xattrs
from ocitool.layer.beneath import Root
from ocitool.layer.changes.diff import same_content
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import AUFS, OPAQUE, WHITEOUT, Entry, Kind, kind_of, shown, split
from ocitool.layer.symlinks import resolve
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.unpack.lower import find, readlink
from ocitool.layer.whiteouts import is_whiteout
from ocitool.oci.content import Stream

_SECOND: Final = 1_000_000_000
_LAST: Final = 1 << 31  # seconds since the epoch, which every file system can keep
#: The others belong to the machine, or are kept in a form of the kernel's own.
_COMPARED: Final = ("user.", "security.capability")
_WORDS: Final = {
    Kind.FILE: "a file",
    Kind.DIRECTORY: "a directory",
    Kind.SYMLINK: "a symbolic link",
    Kind.CHAR: "a character device",
    Kind.BLOCK: "a block device",
    Kind.FIFO: "a pipe",
    "": "a socket",
}


def compare(stream: Stream, tree: str, below: Sequence[str], *, whole: bool) -> Iterator[str]:
    """Yield a line for each difference of the directory *tree* from the tar *stream*.

    *below* are the trees of the layers below, the topmost first.  *whole*: *tree* holds what they
    hold as well (then there is one at most); otherwise it is stacked on them.

    Raises:
        LayerError: the tar is damaged.
    """
    with Root(tree) as root:
        comparison = _Comparison(tree, root, below, whole=whole)
        reader = TarReader(stream)
        for entry in reader:
            comparison.take(entry, reader)
        reader.drain()
        yield from comparison.finish()


class _Comparison:
    def __init__(self, tree: str, root: Root, below: Sequence[str], *, whole: bool) -> None:
        self._tree = tree
        self._root = root
        self._below = tuple(below)
        self._whole = whole
        self._stack = (tree,) if whole else (tree, *below)
        self._faults: dict[str, list[str]] = {}  # by path: of one that comes twice the last counts
        self._kinds: dict[str, str] = {}  # of the layer's entries, in their order
        self._links: list[tuple[str, str]] = []  # hard links and their targets
        self._gone: set[str] = set()  # what whiteouts name
        self._opaque: set[str] = set()
        self._directories: dict[str, str] = {"": ""}  # as a member names it -> without links

    # -- members ----------------------------------------------------------------------------

    def take(self, entry: Entry, reader: TarReader) -> None:
        """Compare one member of the layer with what is there."""
        parent, name = split(entry.path)
        if parent.startswith(AUFS) or f"/{AUFS}" in parent:
            return
        path = self._path(parent, name)
        if name == OPAQUE:
            self._opaque.add(self._path(*split(parent)) if parent else "")
        elif name.startswith(WHITEOUT):
            if not name.startswith(AUFS):
                self._gone.add(self._path(parent, name.removeprefix(WHITEOUT)))
        else:
            self._kinds.pop(path, None)  # its place is that of the last one
            self._kinds[path] = entry.kind
            self._faults.pop(path, None)
            if faults := list(self._member(path, entry, reader)):
                self._faults[path] = faults

    def _path(self, parent: str, name: str) -> str:
        directory = self._directory(parent)
        return f"{directory}/{name}" if directory else name

    def _directory(self, path: str) -> str:
        """Return a directory that a member names, by its path without links."""
        known = self._directories.get(path)
        if known is None:
            known = self._path(*split(path))
            if self._kinds.get(known) != Kind.DIRECTORY:
                known = resolve(known, partial(readlink, self._stack))
            self._directories[path] = known
        return known

    def _place(self, path: str) -> tuple[str, os.stat_result] | None:
        """Return where *path* is, good until the next call, and its state; None if it is not."""
        parent, name = split(path)
        try:
            place = f"/proc/self/fd/{self._root.directory(parent)}/{name}".rstrip("/")
            seen = ownership.here().seen
            if not name:
                return place, seen(self._root.fd, os.fstat(self._root.fd))
            return place, seen(place, os.lstat(place))
        except (FileNotFoundError, NotADirectoryError):  # no link is followed on the way
            return None

    def _member(self, path: str, entry: Entry, reader: TarReader) -> Iterator[str]:
        if entry.kind == Kind.HARDLINK:
            self._links.append((path, self._path(*split(entry.link))))
            return
        found = self._place(path)
        if found is None:
            if entry.kind not in (Kind.CHAR, Kind.BLOCK):
                yield "is missing"
            return
        place, state = found
        kind = kind_of(state.st_mode)
        if kind != entry.kind:
            yield f"is {_WORDS[kind]} instead of {_WORDS[entry.kind]}"
            return
        if kind == Kind.SYMLINK and os.readlink(place) != entry.link:
            yield f"points to {os.readlink(place)!r} instead of {entry.link!r}"
        if kind in (Kind.CHAR, Kind.BLOCK):
            device = (os.major(state.st_rdev), os.minor(state.st_rdev))
            if device != entry.device:
                yield f"is the device {device} instead of {entry.device}"
        if kind == Kind.FILE:
            if state.st_size != entry.size:
                yield f"has {state.st_size} bytes instead of {entry.size}"
            elif not _same_content(place, entry.size, reader):
                yield "has other content"
        yield from _attributes(place, state, entry)

    # -- the whole --------------------------------------------------------------------------

    def finish(self) -> Iterator[str]:
        """Yield what was found, and what only the end shows."""
        order = {path: at for at, path in enumerate(self._kinds)}
        for path, target in self._links:
            if order.get(target, -1) < order[path] and self._kinds[path] == Kind.HARDLINK:
                self._faults[path] = list(self._link(path, target))
        for path in sorted(self._faults, key=order.__getitem__):
            # What a later member has put out of the way is not there any more.
            if not self._replaced(path):
                for fault in self._faults[path]:
                    yield f"{shown(path)}: {fault}"
        inherited = Inherited(self._tree, self._below, self._kinds, whole=self._whole)
        yield from inherited.faults(self._gone, self._opaque)

    def _link(self, path: str, target: str) -> Iterator[str]:
        there = self._place(target)
        if there is None:
            return  # a device node that was left out, or it is missing itself
        here = self._place(path)
        if here is None:
            yield "is missing"
        elif not os.path.samestat(here[1], there[1]):
            yield f"is not the same file as {shown(target)}"

    def _replaced(self, path: str) -> bool:
        parent = split(path)[0]
        while parent:
            if self._kinds.get(parent, Kind.DIRECTORY) != Kind.DIRECTORY:
                return True
            parent = split(parent)[0]
        return False


def _attributes(place: str, state: os.stat_result, entry: Entry) -> Iterator[str]:
    if (state.st_uid, state.st_gid) != (entry.uid, entry.gid):
        yield f"belongs to {state.st_uid}:{state.st_gid} instead of {entry.uid}:{entry.gid}"
    mode = stat.S_IMODE(state.st_mode)
    if entry.kind != Kind.SYMLINK and (mode ^ entry.mode) & _mode_bits(entry):
        yield f"has the mode {mode:04o} instead of {entry.mode:04o}"
    found, wanted = state.st_mtime_ns // _SECOND, entry.mtime // _SECOND
    if 0 <= wanted < _LAST and found != wanted:
        yield f"has the time {found} instead of {wanted}"
    values = xattrs.read(place)
    for name in sorted(values.keys() | entry.xattrs.keys()):
        value = entry.xattrs.get(name)
        if not name.startswith(_COMPARED) or not xattrs.belongs(name):
            continue
        if name not in values:
            if value is not None and _takes(place, name, value):
                yield f"lacks the attribute {name}"
        elif values[name] != value:
            yield f"has another attribute {name}"


def _mode_bits(entry: Entry) -> int:
    # An access list shows its mask in place of the group's bits.
    return 0o7707 if "system.posix_acl_access" in entry.xattrs else 0o7777


def _takes(place: str, name: str, value: bytes) -> bool:
    """Say whether the file system of *place* takes an attribute, by a file without a name."""
    try:
        fd = os.open(os.path.dirname(place), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return False  # nobody can tell here
    try:
        return not xattrs.write(fd, {name: value})
    finally:
        os.close(fd)


def _same_content(place: str, size: int, reader: TarReader) -> bool:
    fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while size:
            wanted = reader.read(min(size, CHUNK))
            size -= len(wanted)
            got = b""
            while len(got) < len(wanted) and (part := os.read(fd, len(wanted) - len(got))):
                got = got + part if got else part
            if got != wanted:
                return False
        return True
    finally:
        os.close(fd)


class Inherited:
    """The rest of the directory *tree*, of which *ours* (path -> kind) are the layer's entries.

    *below* and *whole* are as for `ocitool.layer.changes.verify.compare`.
    """

    def __init__(
        self, tree: str, below: Sequence[str], ours: Mapping[str, str], *, whole: bool
    ) -> None:
        self._tree = tree
        self._below = below
        self._stack = (tree,) if whole else (tree, *below)
        self._whole = whole
        self._ours = ours
        self._implied = _above(ours)  # directories that the layer uses, with or without an entry

    def faults(self, gone: set[str], opaque: set[str]) -> Iterator[str]:
        """Yield what is wrong.  *gone* and *opaque* are what the layer's marks name."""
        # A mark that hides what is in a directory uses the directory.
        self._implied |= _above(opaque) | (opaque - {""})
        for path in sorted(gone):
            yield from self._shown(path)
        for directory in sorted(opaque):
            for path in self._names_below(directory):
                yield from self._shown(path)
        yield from self._strangers(self._tree, "", gone, opaque)
        if self._whole and self._below:
            yield from self._lost(self._below[0], "", gone, opaque)

    # -- what the layer removes -------------------------------------------------------------

    def _shown(self, path: str) -> Iterator[str]:
        """Yield what is seen of the layers below at *path*, where nothing should be."""
        if self._is_directory_of_ours(path):
            for child in self._names_below(path):
                yield from self._shown(child)
        elif path not in self._ours and find(self._below, path) and find(self._stack, path):
            yield f"{shown(path)}: is there although the layer removes it"

    def _is_directory_of_ours(self, path: str) -> bool:
        return path in self._implied or self._ours.get(path) == Kind.DIRECTORY

    def _names_below(self, directory: str) -> list[str]:
        found = set()
        for tree in self._below:
            place = f"{tree}/{directory}" if directory else tree
            if os.path.isdir(place):
                found |= set(os.listdir(place))
        return sorted(f"{directory}/{name}" if directory else name for name in found)

    # -- what the layer does not have -------------------------------------------------------

    def _strangers(self, place: str, path: str, gone: set[str], opaque: set[str]) -> Iterator[str]:
        with os.scandir(place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            child = f"{path}/{entry.name}" if path else entry.name
            state = ownership.here().seen(entry.path, entry.stat(follow_symlinks=False))
            if child not in self._ours:
                fault = self._stranger(entry.path, child, state, gone, opaque)
                if fault:
                    yield f"{shown(child)}: {fault}"
                    continue
            if stat.S_ISDIR(state.st_mode):
                yield from self._strangers(entry.path, child, gone, opaque)

    def _stranger(
        self, place: str, path: str, state: os.stat_result, gone: set[str], opaque: set[str]
    ) -> str:
        """Return what is wrong with *path*, which is not an entry of the layer; ``""`` if nothing.

        It may be a directory that the layer uses, a whiteout, a copy of what is below, or, since
        no layer can hold them, a socket.
        """
        if not kind_of(state.st_mode):
            return ""
        if is_whiteout(state) and not self._whole:
            known = path in gone or ("" in opaque and "/" not in path)
            return "" if known else "hides what the layer does not remove"
        found = find(self._below, path)
        if path in self._implied:
            is_below = found is not None and stat.S_ISDIR(found[1].st_mode)
            if not is_below or _hidden(path, gone, opaque):
                return "" if stat.S_ISDIR(state.st_mode) else "is no directory"
        if found is None:
            return "is not in the layer"
        return "" if _same(place, state, *found) else "is not as in the layer below"

    def _lost(self, place: str, path: str, gone: set[str], opaque: set[str]) -> Iterator[str]:
        """Yield what the tree *place* below has and this one, which holds all of it, has not."""
        if path in opaque or path in gone:
            return
        with os.scandir(place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            child = f"{path}/{entry.name}" if path else entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            if self._is_directory_of_ours(child):
                if is_directory:
                    yield from self._lost(entry.path, child, gone, opaque)
            elif child not in self._ours and child not in gone:
                if not os.path.lexists(f"{self._tree}/{child}"):
                    yield f"{shown(child)}: is missing"
                elif is_directory:
                    yield from self._lost(entry.path, child, gone, opaque)


def _above(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        parent = split(path)[0]
        while parent and parent not in found:
            found.add(parent)
            parent = split(parent)[0]
    return found


def _hidden(path: str, gone: set[str], opaque: set[str]) -> bool:
    """Say whether the layer removes what the layers below have at *path*."""
    while path:
        if path in gone:
            return True
        path = split(path)[0]
        if path in opaque:
            return True
    return False


def _same(place: str, state: os.stat_result, other: str, was: os.stat_result) -> bool:
    if (state.st_mode, state.st_uid, state.st_gid) != (was.st_mode, was.st_uid, was.st_gid):
        return False
    if stat.S_ISDIR(state.st_mode):
        return True
    if state.st_mtime_ns != was.st_mtime_ns or state.st_rdev != was.st_rdev:
        return False
    if stat.S_ISLNK(state.st_mode):
        return os.readlink(place) == os.readlink(other)
    if not stat.S_ISREG(state.st_mode) or os.path.samestat(state, was):
        return True
    return state.st_size == was.st_size and same_content(place, other)
