"""Comparing a tree on disk with the tar it was unpacked from; nothing is changed.

What the machine may refuse when a layer is unpacked is no difference: device nodes, attributes that
the file system does not take, times before 1970 or after 2038.  Nor are parts of a second, which
our own tars leave out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from ocitool.layer import ownership, xattrs
from ocitool.layer.apply_changeset import Changeset
from ocitool.layer.beneath import Root
from ocitool.layer.changes.before import same_content
from ocitool.layer.changes.expected import Content, Expected, Node
from ocitool.layer.changes.verify_lower import Inherited
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import Entry, Kind, kind_of, shown, split
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.unpack.lower_layers import find
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
        comparison = _Comparison(root, TarReader(stream), below)
        expected = comparison.expected()
        yield from comparison.faults(expected)
        ours, removed, opaque = _parts(expected)
        yield from Inherited(tree, below, ours, removed, opaque, whole=whole).faults()


def _parts(expected: Expected) -> tuple[dict[str, str], set[str], set[str]]:
    """Return the kinds of what a layer has, by path, its whiteouts and its opaque directories."""
    ours: dict[str, str] = {"": Kind.DIRECTORY} if expected.describes_root else {}
    removed, opaque = set(), set()
    for path, node in expected.walk():
        if node.entry is None:
            removed.add(path)
            continue
        ours[path] = node.entry.kind
        if node.is_opaque:
            opaque.add(path)
    return ours, removed, opaque


class _Comparison:
    def __init__(self, root: Root, reader: TarReader, below: Sequence[str]) -> None:
        self._root = root
        self._reader = reader
        self._below = tuple(below)

    def expected(self) -> Expected:
        """Read the layer, and return what it makes."""
        expected = Expected(self._below, self._content)
        changes = Changeset(expected)
        for entry in self._reader:
            changes.add(entry)
        self._reader.drain()
        return expected

    def _content(self, entry: Entry) -> Content | None:
        """Compare the content that comes with the file at its path; None without one."""
        found = self._find(entry.path)
        if found is None or kind_of(found[1].st_mode) != Kind.FILE:
            return None
        host_path, state = found
        is_same = state.st_size != entry.size or _same_content(host_path, entry.size, self._reader)
        return Content(inode=(state.st_dev, state.st_ino), is_same=is_same)

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

    def faults(self, expected: Expected) -> Iterator[str]:
        """Yield what is wrong with what the layer has."""
        firsts: dict[int, str] = {}
        if expected.describes_root:
            yield from (f"/: {fault}" for fault in self._member("", expected.root))
        for path, node in expected.walk():
            first = firsts.setdefault(id(node), path)
            faults = self._member(path, node) if first == path else self._other_name(path, first)
            yield from (f"{shown(path)}: {fault}" for fault in faults)

    def _member(self, path: str, node: Node) -> Iterator[str]:
        entry, found = node.entry, self._find(path)
        if entry is None:
            return
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
        if kind == Kind.FILE and node.is_copied:
            lower = find(self._below, entry.path)
            if lower is None or not same_content(host_path, lower[0]):
                yield "is not as in the layer below"
        elif kind == Kind.FILE:
            if state.st_size != entry.size:
                yield f"has {state.st_size} bytes instead of {entry.size}"
            # One that was compared with another file has lost that name since.
            elif node.content == Content(inode=(state.st_dev, state.st_ino), is_same=False):
                yield "has other content"
        yield from _differences(host_path, state, entry)

    def _other_name(self, path: str, first: str) -> Iterator[str]:
        there = self._find(first)
        if there is None:
            return  # a device node that was left out, or it is missing itself
        here = self._find(path)
        if here is None:
            yield "is missing"
        elif not os.path.samestat(here[1], there[1]):
            yield f"is not the same file as {shown(first)}"


def _differences(host_path: str, state: os.stat_result, entry: Entry) -> Iterator[str]:
    if (state.st_uid, state.st_gid) != (entry.uid, entry.gid):
        yield f"belongs to {state.st_uid}:{state.st_gid} instead of {entry.uid}:{entry.gid}"
    mode = stat.S_IMODE(state.st_mode)
    if entry.kind != Kind.SYMLINK and (mode ^ entry.mode) & _mode_bits(entry):
        yield f"has the mode {mode:04o} instead of {entry.mode:04o}"
    found, wanted = state.st_mtime_ns // _SECOND, entry.mtime // _SECOND
    if 0 <= wanted < _LAST and found != wanted:
        yield f"has the time {found} instead of {wanted}"
    values, given = xattrs.read(host_path), xattrs.kept(entry.xattrs, entry.kind)
    for name in sorted(values.keys() | given.keys()):
        value = given.get(name)
        if not name.startswith(_COMPARED):
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
