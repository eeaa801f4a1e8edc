"""Comparing a tree on disk with the tar it was unpacked from; nothing is changed.

What the machine may refuse when a layer is unpacked is no difference: device nodes, attributes that
the file system does not take, times before 1970 or after 2038.  Nor are parts of a second, which
our own tars leave out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from ocitool.layer import ownership, xattrs
from ocitool.layer.beneath import Root
from ocitool.layer.changes.verify_lower import Inherited
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import (
    AUFS,
    OPAQUE,
    WHITEOUT,
    Entry,
    Kind,
    described,
    kind_of,
    shown,
    split,
)
from ocitool.layer.symlinks import resolve
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.unpack.lower_layers import look, readlink
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
        LayerError: the tar is corrupt.
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
        # The attributes of the files, one list for all names of a file.
        self._attributes: dict[str, list[Entry]] = {}
        self._copied: dict[str, str] = {}  # kinds of what hard links name in the layers below
        self._removed: set[str] = set()  # what whiteouts name
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
                self._removed.add(self._path(parent, name.removeprefix(WHITEOUT)))
        else:
            self._kinds.pop(path, None)  # the last of a name counts
            self._kinds[path] = entry.kind
            self._attributes.pop(path, None)
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

    def _find(self, path: str) -> tuple[str, os.stat_result] | None:
        """Return where *path* is, good until the next call, and its state; None if it is not."""
        parent, name = split(path)
        try:
            host_path = f"/proc/self/fd/{self._root.directory(parent)}/{name}".rstrip("/")
            effective = ownership.current().effective
            if not name:
                return host_path, effective(self._root.fd, os.fstat(self._root.fd))
            return host_path, effective(host_path, os.lstat(host_path))
        except (FileNotFoundError, NotADirectoryError):  # no link is followed on the way
            return None

    def _member(self, path: str, entry: Entry, reader: TarReader) -> Iterator[str]:
        if entry.kind == Kind.HARDLINK:
            self._other_name(path, self._path(*split(entry.link)), entry)
            return
        self._attributes[path] = [entry]
        found = self._find(path)
        if found is None:
            if entry.kind not in (Kind.CHAR, Kind.BLOCK):
                yield "is missing"
            return
        host_path, state = found
        kind = kind_of(state.st_mode)
        if kind != entry.kind:
            yield f"is {_WORDS[kind]} instead of {_WORDS[entry.kind]}"
            return
        if kind == Kind.SYMLINK and os.readlink(host_path) != entry.link:
            yield f"points to {os.readlink(host_path)!r} instead of {entry.link!r}"
        if kind in (Kind.CHAR, Kind.BLOCK):
            device = (os.major(state.st_rdev), os.minor(state.st_rdev))
            if device != entry.device:
                yield f"is the device {device} instead of {entry.device}"
        if kind == Kind.FILE:
            if state.st_size != entry.size:
                yield f"has {state.st_size} bytes instead of {entry.size}"
            elif not _same_content(host_path, entry.size, reader):
                yield "has other content"

    def _other_name(self, path: str, target: str, link: Entry) -> None:
        self._links.append((path, target))
        file = self._attributes.get(target)
        if file is None and (below := look(self._below, target)) is not None:
            file = self._attributes[target] = [below]
            self._copied[target] = below.kind
        if file is not None:
            file[0] = described(file[0], link)
            self._attributes[path] = file

    def _compare_attributes(self, path: str) -> Iterator[str]:
        (entry,), found = self._attributes[path], self._find(path)
        if found is not None and kind_of(found[1].st_mode) == entry.kind:
            yield from _differences(*found, entry)

    # -- the whole --------------------------------------------------------------------------

    def finish(self) -> Iterator[str]:
        """Yield what was found, and what only the end shows."""
        order = {path: at for at, path in enumerate(self._kinds)}
        for path, target in self._links:
            if order.get(target, -1) < order[path] and self._kinds[path] == Kind.HARDLINK:
                self._faults[path] = list(self._link(path, target))
        ours = {**self._copied, **self._kinds}
        for path, kind in ours.items():
            if kind != Kind.HARDLINK:
                self._faults.setdefault(path, []).extend(self._compare_attributes(path))
        for path in sorted(self._faults, key=lambda path: order.get(path, -1)):
            # What a later member has put out of the way is not there any more.
            if not self._replaced(path):
                for fault in self._faults[path]:
                    yield f"{shown(path)}: {fault}"
        inherited = Inherited(
            self._tree, self._below, ours, self._removed, self._opaque, whole=self._whole
        )
        yield from inherited.faults()

    def _link(self, path: str, target: str) -> Iterator[str]:
        there = self._find(target)
        if there is None:
            return  # a device node that was left out, or it is missing itself
        here = self._find(path)
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


def _differences(host_path: str, state: os.stat_result, entry: Entry) -> Iterator[str]:
    if (state.st_uid, state.st_gid) != (entry.uid, entry.gid):
        yield f"belongs to {state.st_uid}:{state.st_gid} instead of {entry.uid}:{entry.gid}"
    mode = stat.S_IMODE(state.st_mode)
    if entry.kind != Kind.SYMLINK and (mode ^ entry.mode) & _mode_bits(entry):
        yield f"has the mode {mode:04o} instead of {entry.mode:04o}"
    found, wanted = state.st_mtime_ns // _SECOND, entry.mtime // _SECOND
    if 0 <= wanted < _LAST and found != wanted:
        yield f"has the time {found} instead of {wanted}"
    values = xattrs.read(host_path)
    for name in sorted(values.keys() | entry.xattrs.keys()):
        value = entry.xattrs.get(name)
        if not name.startswith(_COMPARED) or not xattrs.belongs(name):
            continue
        if name not in values:
            if value is not None and _takes(host_path, name, value):
                yield f"lacks the attribute {name}"
        elif values[name] != value:
            yield f"has another attribute {name}"


def _mode_bits(entry: Entry) -> int:
    # An access list shows its mask in place of the group's bits.
    return 0o7707 if "system.posix_acl_access" in entry.xattrs else 0o7777


def _takes(host_path: str, name: str, value: bytes) -> bool:
    """Say whether the file system of *host_path* takes an attribute, by a file without a name."""
    try:
        fd = os.open(os.path.dirname(host_path), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return False  # it cannot be known here
    try:
        return not xattrs.write(fd, {name: value})
    finally:
        os.close(fd)


def _same_content(host_path: str, size: int, reader: TarReader) -> bool:
    fd = os.open(host_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
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
