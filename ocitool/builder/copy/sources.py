"""What COPY and ADD take files from: the context, another image or stage, a heredoc, an archive.

All have one interface.  A *handle* stands for the content of one file; its meaning is the
source's own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import Any, Final, Protocol

from ocitool.builder.context.context import Context, Item
from ocitool.builder.context.file_tree import READ
from ocitool.builder.context.name_patterns import find_matches, has_wildcard, segments_of
from ocitool.builder.context.parents_exclude import ON_THE_WAY, Selection, joined
from ocitool.builder.context.statcache import CHANGED_HINT
from ocitool.errors import BuildError, LayerError
from ocitool.image.image_fs import LayeredTree
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import Entry, Kind, identity, split
from ocitool.layer.index.merged import Found

Content = Callable[[Any, int], Iterator[bytes]]
"""Given a handle and a size, yields the file's bytes."""


class Source(Protocol):
    """What files are copied from."""

    @property
    def keeps_owners(self) -> bool:
        """Whether owners are the files' own; otherwise they become root's."""

    @property
    def random_access(self) -> bool:
        """Whether contents can be read at any time; otherwise all must be asked for at once."""

    def walk(self, item: Item) -> Iterator[tuple[Entry, Any]]:
        """Yield what is in a directory, parents first, paths relative to it, with handles.

        Of a directory that the item's selection does not take itself that is `ON_THE_WAY`.
        """

    def mtime(self, item: Item) -> int:
        """Return the time of the last change of a directory itself, in nanoseconds."""

    def file(self, item: Item) -> tuple[Entry, Any]:
        """Return the entry of a file and its handle."""

    def contents(self, handles: list[Any]) -> AbstractContextManager[Content]:
        """Prepare the content of *handles* for reading."""


class FromContext:
    """The build context."""

    keeps_owners: Final = False
    random_access: Final = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self.find = context.find
        self.walk = context.walk
        self.file = context.file

    def mtime(self, item: Item) -> int:
        return self._context.state(item).st_mtime_ns

    @contextlib.contextmanager
    def contents(self, handles: list[Any]) -> Iterator[Content]:
        top = self._context.top
        with self._context.reader() as open_file:
            yield lambda path, size: _pieces(open_file, path, size, f"{top}/{path}")


def read_file(path: str, size: int) -> Iterator[bytes]:
    """Yield the content of the file *path*, which must have *size* bytes."""
    return _pieces(lambda each: os.open(each, READ), path, size, path)


def _pieces(open_file: Callable[[str], int], name: str, size: int, path: str) -> Iterator[bytes]:
    """Yield the content of the file *name*, which messages call *path*."""
    try:
        fd = open_file(name)
    except OSError as error:  # its digest has been read before
        raise BuildError(f"{path}: {error.strerror}", hint=CHANGED_HINT) from error
    try:
        while size:
            data = os.read(fd, min(size, CHUNK))
            if not data:
                raise LayerError("the file shrank while it was read", where=path)
            size -= len(data)
            yield data
        if os.read(fd, 1):
            raise LayerError("the file grew while it was read", where=path)
    finally:
        os.close(fd)


class FromImage:
    """The tree of an image or of another stage; nothing of it is unpacked."""

    keeps_owners: Final = True
    random_access: Final = False

    def __init__(self, image: LayeredTree, name: str, scratch: Callable[[], str]) -> None:
        self._image = image
        self._name = name
        self._scratch = scratch

    def find(self, pattern: str) -> list[Item]:
        segments = segments_of(pattern)
        tree = self._image.tree
        if any(has_wildcard(segment) for segment in segments):
            found = find_matches(segments, tree.names, tree.resolve)
        else:
            named = "/".join(segments)
            found = iter([(named, tree.resolve(named), segments[-1] if segments else "")])
        return [self._found(named, path, name) for named, path, name in found]

    def _found(self, named: str, path: str | None, name: str) -> Item:
        """Return the item at *path*; the path is that of a link's target if *named* is a link."""
        if path is None or self._image.tree.get(path) is None:
            raise BuildError(f'"/{named}": not found', hint=f"looked for in {self._name}")
        return self._item(path, name)

    def _item(self, path: str, name: str = "") -> Item:
        found = self._image.tree.get(path)
        is_directory = found is not None and found.entry.kind == Kind.DIRECTORY
        return Item(path, name or path.rpartition("/")[2], is_directory)

    def digest(self, item: Item, *, owners: bool) -> str:
        """Return a digest of what *item* is, without times, and without owners on request."""
        lines: list[str] = []
        files: list[Found] = []
        for entry, handle in self.walk(item) if item.is_directory else [self.file(item)]:
            lines.append(identity(entry, owners=owners))
            if handle == ON_THE_WAY:
                lines.append(ON_THE_WAY)
            elif handle is not None and entry.size:
                files.append(handle)
        digests = self._image.digests(files)
        content = [digests[(found.layer, found.offset)] for found in files]
        return sha256(repr((item.is_directory, lines, content)).encode()).hexdigest()

    def walk(self, item: Item) -> Iterator[tuple[Entry, Any]]:
        prefix = len(item.path) + 1 if item.path else 0
        firsts: dict[int, str] = {}
        tree = self._image.tree.walk(item.path)
        for found, leads_on in _selected(tree, item.selection, below=prefix):
            entry = found.entry._replace(path=found.entry.path[prefix:])
            if entry.kind != Kind.FILE:
                yield entry, ON_THE_WAY if leads_on else None
                continue
            # Of several names of one file the first that comes here carries the content.
            first = firsts.setdefault(found.file, entry.path)
            if first != entry.path:
                yield entry._replace(kind=Kind.HARDLINK, size=0, link=first), None
            else:
                yield entry, found

    def mtime(self, item: Item) -> int:
        found = self._image.tree.get(item.path)
        return 0 if found is None else found.entry.mtime

    def file(self, item: Item) -> tuple[Entry, Any]:
        found = self._image.tree.get(item.path)
        if found is None:
            raise BuildError(f'"/{item.path}": not found', hint=f"looked for in {self._name}")
        handle = found if found.entry.kind == Kind.FILE else None
        return found.entry._replace(path=item.name), handle

    @contextlib.contextmanager
    def contents(self, handles: list[Any]) -> Iterator[Content]:
        with self._image.spool(handles, self._scratch()) as spool:
            yield lambda handle, _: spool.pieces(handle)


def _selected(
    found: Iterable[Found], selection: Selection, *, below: int
) -> Iterator[tuple[Found, bool]]:
    """Yield what *selection* takes of *found*, the entries of a directory, parents first.

    The second value is true for a directory that is only there for what is taken beneath it.
    *below* characters of each path are the directory's own.
    """
    if not selection:
        yield from ((each, False) for each in found)
        return
    enter, root = joined(selection)
    verdicts = {"": root}
    waiting: dict[str, Found] = {}  # directories that are only there for what is beneath them
    for each in found:
        path = each.entry.path[below:]
        parent, name = split(path)
        above = verdicts.get(parent)
        if above is None:
            continue
        is_directory = each.entry.kind == Kind.DIRECTORY
        verdict = above if above.settled else enter(above, name, is_directory)
        if verdict.ignored and (verdict.settled or not is_directory):
            continue
        if is_directory:
            verdicts[path] = verdict
        if verdict.ignored:
            waiting[path] = each
            continue
        if waiting:
            yield from [(waiting.pop(up), True) for up in _upwards(parent) if up in waiting]
        yield each, False


def _upwards(path: str) -> Iterator[str]:
    """Yield the directories that *path* leads through, the topmost first, itself last."""
    parts = path.split("/")
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])


class _FilesAlone:
    """A source that has no directories."""

    keeps_owners: Final = False
    random_access: Final = True

    def walk(self, item: Item) -> Iterator[tuple[Entry, Any]]:
        raise NotADirectoryError(item.path)

    def mtime(self, item: Item) -> int:
        raise NotADirectoryError(item.path)


class FromUrl(_FilesAlone):
    """One file that was fetched into the temporary file *path*: its mode is 0600, as BuildKit's."""

    def __init__(self, name: str, path: str, *, size: int, mtime: int) -> None:
        self._path = path
        self._entry = Entry(name, Kind.FILE, 0o600, size=size, mtime=mtime)

    def file(self, item: Item) -> tuple[Entry, Any]:
        return self._entry, self._path

    @contextlib.contextmanager
    def contents(self, handles: list[Any]) -> Iterator[Content]:
        yield read_file


class FromText(_FilesAlone):
    """Heredocs: files of mode 0644 whose content is in the Dockerfile."""

    def __init__(self, files: dict[str, bytes], mtime: int) -> None:
        self._files = files
        self._mtime = mtime

    def file(self, item: Item) -> tuple[Entry, Any]:
        data = self._files[item.path]
        entry = Entry(item.path, Kind.FILE, 0o644, size=len(data), mtime=self._mtime)
        return entry, data

    @contextlib.contextmanager
    def contents(self, handles: list[Any]) -> Iterator[Content]:
        yield lambda data, _: iter((data,))
