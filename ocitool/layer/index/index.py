"""The index of a layer: what it holds, without its content.

One JSON array a line, in the layer's order, so that it can be read, searched and compared with
ordinary tools: ``[path, kind, mode, uid, gid, size, mtime, link, device, xattrs, offset]``, the
offset being that of the content in the uncompressed tar, and -1 of a hard link to a file of the
layers below, whatever the layer itself has under that name.  A sparse file has one field more:
where its data is in the file, ``[[offset, length], ...]``; of its content the tar holds that alone.

A layer may name a path twice: each entry does to those before it what unpacking does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from ocitool.errors import LayerError
from ocitool.layer.entry import AUFS, OPAQUE, WHITEOUT, Entry, Kind, order, split
from ocitool.layer.symlinks import resolve
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.tar.sparse import Spans
from ocitool.oci.content import Stream

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_DIRECTORY: Final = f'","{Kind.DIRECTORY}",'.encode("ascii")


class IndexEntry(NamedTuple):
    """An entry and the offset of its content in the uncompressed tar.

    ``sparse`` is as of a `TarReader`: None unless only these runs of data are there.
    """

    entry: Entry
    offset: int
    sparse: Spans | None = None


class IndexWriter:
    """Collects the lines of an index."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._last: bytes | None = None
        self._ordered = True

    def add(self, entry: Entry, offset: int, sparse: Spans | None = None) -> None:
        """Take the next entry; a hard link to a path that is still to come means one below."""
        key = order(entry.path)
        if entry.kind == Kind.HARDLINK and order(entry.link) > key:
            offset = BELOW
        attributes = sorted(entry.xattrs.items())
        values = {name: base64.b64encode(value).decode() for name, value in attributes}
        runs = () if sparse is None else (sparse,)
        line = _encode([*entry[:8], entry.device, values, offset, *runs])
        self._text += line.encode("ascii")
        self._text += b"\n"
        self._ordered = self._ordered and (self._last is None or key > self._last)
        self._last = key

    def dump(self) -> bytes:
        """Return the index."""
        if self._ordered:  # as our own layers are
            return bytes(self._text)
        replay = Replay()
        for line in self._text.splitlines():
            replay.add(bytes(line))
        return replay.dump()


def index_of(stream: Stream) -> bytes:
    """Read the tar *stream* to its end and return its index."""
    writer = IndexWriter()
    reader = TarReader(stream)
    for entry in reader:
        writer.add(entry, reader.offset, reader.sparse)
    reader.drain()
    return writer.dump()


class LayerIndex:
    """An index that was read: look-ups by path, names by directory.

    Whiteouts are not among the entries; see `hides`.
    """

    def __init__(self, data: bytes) -> None:
        self._lines: dict[str, bytes] = {}
        self._names: dict[str, list[str]] = {}
        self._hidden: dict[str, set[str]] = {}  # directory -> names
        self._opaque: set[str] = set()
        self._touched: set[str] = set()  # directories that whiteouts are beneath
        for line in data.splitlines():
            if line[:2] != b'["' or line[-1:] != b"]":
                raise ValueError("a line is cut off")
            raw = line[2 : line.index(b'",', 2)]
            # Most names are plain; only those with escapes need the parser.
            path = json.loads(line)[0] if b"\\" in raw else raw.decode("ascii")
            self._take(path, line)

    def _take(self, path: str, line: bytes) -> None:
        parent, name = split(path)
        if parent.startswith(AUFS) or f"/{AUFS}" in parent:
            return
        if name == OPAQUE:
            self._opaque.add(parent)
            self._imply(parent)
        elif name.startswith(WHITEOUT):
            if not name.startswith(AUFS):
                self._hidden.setdefault(parent, set()).add(name.removeprefix(WHITEOUT))
                while parent and parent not in self._touched:
                    self._touched.add(parent)
                    parent = split(parent)[0]
        else:
            self._lines[path] = line
            if path:
                self._imply(parent)
                self._names.setdefault(parent, []).append(name)

    def _imply(self, path: str) -> None:
        """Note a directory that the layer uses, whether or not it has an entry of its own."""
        unknown = []
        while path and path not in self._lines and path not in self._names:
            unknown.append(path)
            path = split(path)[0]
        for path in reversed(unknown):
            parent, name = split(path)
            self._names[path] = []
            self._names.setdefault(parent, []).append(name)

    def get(self, path: str) -> IndexEntry | None:
        """Return the entry of *path*, None if the layer has none."""
        line = self._lines.get(path)
        if line is None:
            return None
        *fields, device, values, offset = (read := json.loads(line))[:11]
        decoded = {name: base64.b64decode(value) for name, value in values.items()}
        entry = Entry._make([*fields, tuple(device), decoded])
        return IndexEntry(entry, offset, *(tuple(map(tuple, runs)) for runs in read[11:]))

    def is_directory(self, path: str) -> bool:
        """Say whether *path* is a directory of this layer, implied or with an entry."""
        line = self._lines.get(path)
        if line is None:
            return path == "" or path in self._names or path in self._opaque
        return _is_directory(line)

    def has(self, path: str) -> bool:
        """Say whether the layer has *path*."""
        return path in self._lines or self.is_directory(path)

    def hides(self, path: str) -> bool:
        """Say whether the layer removes what the layers below have at *path*."""
        parent, name = split(path)
        return name in self._hidden.get(parent, ())

    def hidden_in(self, directory: str) -> Iterable[str]:
        """Return the names that the layer removes from *directory*."""
        return self._hidden.get(directory, ())

    def touches(self, directory: str) -> bool:
        """Say whether the layer removes anything beneath *directory*."""
        return directory in self._touched

    def opaque(self, path: str) -> bool:
        """Say whether the layer hides all that the layers below have in *path*."""
        return path in self._opaque

    def names(self, directory: str) -> Iterable[str]:
        """Return the names in *directory*, without whiteouts."""
        return self._names.get(directory, ())

    def through(self) -> Iterator[str]:
        """Yield the directories that something is in, and that may be behind a link.

        Those are not that the layer has directory entries for, up to the top.
        """
        described = {""}
        for directory in sorted(
            {**self._names, **dict.fromkeys((*self._hidden, *self._opaque))}, key=order
        ):
            line = self._lines.get(directory)
            known = directory == "" or (line is not None and _is_directory(line))
            if known and split(directory)[0] in described:
                described.add(directory)
            else:
                yield directory

    def moved(self, directories: Mapping[str, str]) -> LayerIndex:
        """Return this index with the contents of *directories* moved: old path to new path."""
        moved = LayerIndex(b"")
        whiteouts = [(each, OPAQUE) for each in self._opaque]
        whiteouts += [
            (each, WHITEOUT + name) for each in self._hidden for name in self._hidden[each]
        ]
        for directory, name in whiteouts:
            moved._take(f"{directories.get(directory, directory)}/{name}".lstrip("/"), b"")
        lines: dict[str, bytes] = {}
        for path, line in self._lines.items():
            directory, name = split(path)
            if directory in directories:
                path = f"{directories[directory]}/{name}".lstrip("/")
                line = _encode([path, *json.loads(line)[1:]]).encode("ascii")
            lines[path] = line
        for path in sorted(lines, key=order):
            moved._take(path, lines[path])
        return moved

    def paths(self) -> Iterator[str]:
        """Yield every path that has an entry, in the layer's order."""
        yield from self._lines


def _is_directory(line: bytes) -> bool:
    end = line.index(b'",', 2)
    if b"\\" in line[2:end]:  # this may not be the end of the path
        return bool(json.loads(line)[1] == Kind.DIRECTORY)
    return line.startswith(_DIRECTORY, end)


def parse(data: bytes) -> LayerIndex:
    """Read an index; `LayerError` if it is corrupt."""
    try:
        return LayerIndex(data)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise LayerError(f"the layer's index is corrupt: {error}") from error


_LINK: Final = 7  # the field of a line with a link's target
_OFFSET: Final = 10
#: The offset of a hard link to a file of the layers below, whatever the layer itself has there.
BELOW: Final = -1


class _Unknown(Exception):
    """Where a link leads depends on the layers below."""


class Replay:
    """Applies the lines of an index, in the layer's order, to those before them.

    Of a path that comes twice the last entry counts.  The other names of a file that is replaced
    keep it; what was in a directory goes with it; a directory in the place of anything else hides
    what the layers below have there.
    """

    def __init__(self) -> None:
        self._lines: dict[str, bytes] = {}
        self._inside: dict[str, list[str]] = {}  # directory -> paths, some gone meanwhile
        self._links: dict[str, list[str]] = {}  # target -> hard links to it, likewise
        self._symlinks: set[str] = set()  # likewise

    def add(self, line: bytes) -> None:
        """Take the next line, without its end."""
        fields = json.loads(line)
        path = self._led(fields[0])
        if path != fields[0]:
            fields[0] = path
            line = _encode(fields).encode("ascii")
        self._symlinks.discard(path)
        if path in self._lines:
            self._replace(path, fields[1])
        else:
            if fields[1] != Kind.DIRECTORY:
                self._empty(path)  # a directory that no entry describes
            self._note(path)
        if fields[1] == Kind.SYMLINK:
            self._symlinks.add(path)
        elif fields[1] == Kind.HARDLINK:
            fields[_LINK] = self._led(fields[_LINK])
            known = fields[_LINK] in self._lines
            fields[_OFFSET] = 0 if known else BELOW
            line = _encode(fields).encode("ascii")
            if known:
                self._links.setdefault(fields[_LINK], []).append(path)
        self._lines[path] = line

    def _led(self, path: str) -> str:
        """Return *path* with the links followed that the layer has in its directories by now.

        It stays where that depends on the layers below; `resolve_links` goes on there.
        """
        parent, name = split(path)
        at = parent
        while at and at not in self._symlinks:
            at = split(at)[0]
        if not at:
            return path
        try:
            return f"{resolve(parent, self._own_target)}/{name}".lstrip("/")
        except (_Unknown, LayerError):
            return path

    def _own_target(self, path: str) -> str:
        fields = self._fields(path) if path in self._symlinks and path in self._lines else ["", ""]
        if fields[1] != Kind.SYMLINK:
            return ""
        target = str(fields[_LINK])
        parts = target.split("/")
        while parts[:1] == [".."]:
            del parts[0]
            while path := split(path)[0]:
                if not self._is_described(path):
                    raise _Unknown  # a link of a layer below may lead there
        if ".." in parts:
            raise _Unknown
        return target

    def _is_described(self, path: str) -> bool:
        return path in self._lines and self._fields(path)[1] == Kind.DIRECTORY

    def _note(self, path: str) -> None:
        """Let the directories that *path* is in, described or not, know what is in them."""
        while path:
            parent = split(path)[0]
            known = parent in self._inside
            self._inside.setdefault(parent, []).append(path)
            if known or parent in self._lines:
                break
            path = parent

    def dump(self) -> bytes:
        """Return the index in its order."""
        ordered = sorted(self._lines, key=order)
        return b"".join(self._lines[path] + b"\n" for path in ordered)

    def _replace(self, path: str, kind: str) -> None:
        before = self._fields(path)[1]
        if split(path)[1].startswith(WHITEOUT):
            return
        if before != Kind.DIRECTORY:
            self._keep_links(path)
            if kind == Kind.DIRECTORY:
                opaque = [f"{path}/{OPAQUE}", Kind.FILE, 0o644, 0, 0, 0, 0, "", (0, 0), {}, 0]
                self.add(_encode(opaque).encode("ascii"))
        elif kind != Kind.DIRECTORY:
            self._empty(path)

    def _empty(self, path: str) -> None:
        for inner in self._inside.pop(path, ()):
            self._remove(inner)

    def _remove(self, path: str) -> None:
        self._empty(path)
        if path in self._lines:
            self._keep_links(path)
            del self._lines[path]

    def _keep_links(self, path: str) -> None:
        """Let the hard links to *path* keep its current file, before the path is replaced."""
        names = [name for name in self._links.pop(path, ()) if self._leads(name) == path]
        fields = self._fields(path)
        target = fields[_LINK]
        if fields[1] != Kind.HARDLINK and names:
            target = names.pop(0)
            self._lines[target] = _encode([target, *fields[1:]]).encode("ascii")
        for name in names:
            fields = self._fields(name)
            fields[_LINK] = target
            self._lines[name] = _encode(fields).encode("ascii")
            self._links.setdefault(target, []).append(name)

    def _leads(self, path: str) -> str:
        fields = self._fields(path) if path in self._lines else ["", ""]
        return str(fields[_LINK]) if fields[1] == Kind.HARDLINK else ""

    def _fields(self, path: str) -> list[Any]:
        return list(json.loads(self._lines[path]))
