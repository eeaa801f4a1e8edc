"""The entries of a new layer, by path, and what becomes of files with several names."""

from __future__ import annotations

from typing import Any, NamedTuple

from ocitool.builder.copy.descendants import Descendants
from ocitool.errors import BuildError, LayerError
from ocitool.layer.entry import WHITEOUT, Entry, Kind, clean_path, described, order, split


class LayerEntry(NamedTuple):
    """An entry of the layer, and where its content comes from."""

    entry: Entry
    part: int  # number of the part, -1 for directories made on the way
    handle: Any


def require_path(path: str) -> None:
    """Refuse a path that means something else in a layer, or that no layer can have.

    Raises:
        BuildError: its name is that of a whiteout, or of no file.
        LayerError: it is too long or too deep.
    """
    if clean_path(path) != path:
        raise BuildError(f"/{path} cannot be the name of a file")
    if split(path)[1].startswith(WHITEOUT):
        raise BuildError(
            f"/{path}: a name that begins with {WHITEOUT} cannot be in a layer",
            hint="this prefix marks removed files in a layer; rename the file",
        )


class Entries:
    """Entries by path; a later one replaces an earlier one."""

    def __init__(self) -> None:
        self._entries: dict[str, LayerEntry] = {}
        self._below = Descendants()
        self._linked: dict[
            str, set[str]
        ] = {}  # paths of hard links, or of some that were, by target

    def get(self, path: str) -> Entry | None:
        """Return what is planned for *path*."""
        found = self._entries.get(path)
        return None if found is None else found.entry

    def put(self, entry: Entry, part: int, handle: Any) -> None:
        """Plan *entry*.

        Raises:
            BuildError: its name means something else in a layer.
            LayerError: it replaces a file of the image that a hard link points to.
        """
        path = entry.path
        require_path(path)
        if path in self._linked:
            self._keep_for_links(path)
        if entry.kind != Kind.DIRECTORY and path in self._below:
            self._drop_children(path)
        if entry.kind == Kind.HARDLINK:
            entry = entry._replace(link=self._first_name(entry.link))
            self._linked.setdefault(entry.link, set()).add(path)
            self._below.note(entry.link)
        self._below.note(path)
        self._entries[path] = LayerEntry(entry, part, handle)

    def _first_name(self, path: str) -> str:
        """Return the name that a hard link to *path* points to: never another hard link."""
        found = self._entries.get(path)
        return found.entry.link if found and found.entry.kind == Kind.HARDLINK else path

    def describe(self, path: str, link: Entry) -> None:
        """Give the file that has the name *path*, if it is planned, what the header *link* says."""
        path = self._first_name(path)
        found = self._entries.get(path)
        if found is not None:
            self._entries[path] = found._replace(entry=described(found.entry, link))

    def _drop_children(self, directory: str) -> None:
        gone = [*self._below.drop(directory)]
        kept = {path: self._entries.pop(path) for path in gone if path in self._entries}
        for path in filter(self._linked.__contains__, gone):
            if path in kept:
                self._entries[path] = kept[path]
            self._keep_for_links(path)
            self._entries.pop(path, None)

    def _names_of(self, path: str) -> list[str]:
        names = self._linked.get(path, ())
        found = ((name, self._entries.get(name)) for name in names)
        return [
            name
            for name, each in found
            if each and each.entry.kind == Kind.HARDLINK and each.entry.link == path
        ]

    def _keep_for_links(self, path: str) -> None:
        """A file with other names is replaced: the first of those gets the content."""
        names = sorted(self._names_of(path), key=order)
        if names and path not in self._entries:
            raise LayerError(
                f"hard link to /{path}, which a later member replaces, is not supported",
                where=names[0],
                hint="put the file into the archive before the link, or unpack it in a RUN",
            )
        if names:
            self._carry(path, names[0], names[1:])
        self._linked.pop(path, None)

    def _carry(self, path: str, first: str, others: list[str]) -> None:
        """Let *first* carry what *path* has, and *others* point to it."""
        old = self._entries[path]
        self._entries[first] = LayerEntry(old.entry._replace(path=first), old.part, old.handle)
        for name in others:
            link = old.entry._replace(path=name, kind=Kind.HARDLINK, size=0, link=first)
            self._entries[name] = LayerEntry(link, old.part, None)
        self._linked.setdefault(first, set()).update(others)

    def sorted(self) -> list[LayerEntry]:
        """Return the entries in a layer's order, a file before the links to it.

        The names of one file get the same attributes: who unpacks them may apply any of them.
        """
        names: dict[str, list[str]] = {}
        for path, each in self._entries.items():
            if each.entry.kind == Kind.HARDLINK and each.entry.link in self._entries:
                names.setdefault(each.entry.link, [each.entry.link]).append(path)
        for path, several in names.items():
            first, *others = sorted(several, key=order)
            self._carry(path, first, others)
        return sorted(self._entries.values(), key=lambda each: order(each.entry.path))
