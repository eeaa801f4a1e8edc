"""COPY and ADD: which entries the layer gets.

Nothing is unpacked or mounted: what the image has already is looked up in its layers' indexes.

Source: Dockerfile reference, "COPY", "ADD"; where the engines differ, BuildKit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ocitool.builder.archive import Spooled
from ocitool.builder.context import Item
from ocitool.builder.dockerfile.values import Chmod
from ocitool.builder.sources import Source
from ocitool.errors import BuildError
from ocitool.layer import entry as kinds
from ocitool.layer.entry import Entry, order, split
from ocitool.layer.tree import ImageTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One source of a COPY: something in a `Source`, or an archive to unpack."""

    source: Source
    item: Item
    archive: Spooled | None = None


class Planned(NamedTuple):
    """An entry of the layer, and where its content comes from."""

    entry: Entry
    part: int  # number of the part, -1 for directories made on the way
    handle: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where things go and how they shall be."""

    dest: str  # absolute; with a trailing slash a directory
    tree: ImageTree  # what is there before
    owner: tuple[int, int] | None = None  # --chown
    chmod: Chmod | None = None
    now: int = 0  # nanoseconds: the time of what the builder makes itself


def plan(parts: Sequence[Part], target: Target) -> list[Planned]:
    """Return the entries of the layer, in its order.

    Raises:
        BuildError: a directory would replace a file, or the other way round.
    """
    plan = _Plan(target)
    for number, part in enumerate(parts):
        plan.take(number, part)
    return plan.sorted()


class _Plan:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._tree = target.tree
        self._planned: dict[str, Planned] = {}
        self._base = self._tree.resolve(target.dest)
        found = self._tree.get(self._base)
        self._there = None if found is None else found.entry
        self._resolved: dict[str, str] = {}
        self._linked: set[str] = set()  # paths that hard links point to

    def sorted(self) -> list[Planned]:
        return sorted(self._planned.values(), key=lambda planned: order(planned.entry.path))

    def take(self, number: int, part: Part) -> None:
        if part.archive is not None:
            self._unpack(number, part.archive)
        elif part.item.is_directory:
            self._directory(number, part)
        else:
            self._file(number, part)

    # -- the three kinds --------------------------------------------------------------------

    def _directory(self, number: int, part: Part) -> None:
        self._refuse_non_directory(self._base, self._there)
        self._make_directories(self._base)
        fresh: set[str] = set()
        exists = self._there is not None
        for entry, handle in part.source.walk(part.item):
            path = self._below(entry.path)
            if exists and split(entry.path)[0] not in fresh:
                found = self._tree.get(path)
                if found is None:
                    if entry.kind == kinds.DIRECTORY:
                        fresh.add(entry.path)
                elif entry.kind == kinds.DIRECTORY:
                    self._refuse_non_directory(path, found.entry)
                elif found.entry.kind == kinds.DIRECTORY:
                    raise _replaces(path)
            elif entry.kind == kinds.DIRECTORY:
                fresh.add(entry.path)
            self._put(self._changed(entry, path, part.source.keeps_owners), number, handle)

    def _file(self, number: int, part: Part) -> None:
        is_directory = self._target.dest.endswith("/") or (
            self._there is not None and self._there.kind == kinds.DIRECTORY
        )
        entry, handle = part.source.file(part.item)
        if is_directory:
            self._refuse_non_directory(self._base, self._there)
            path = self._tree.resolve(self._below(entry.path))
        else:
            path = self._base
        found = self._tree.get(path)
        if found is not None and found.entry.kind == kinds.DIRECTORY:
            raise _replaces(path)
        self._make_directories(split(path)[0])
        self._put(self._changed(entry, path, part.source.keeps_owners), number, handle)

    def _unpack(self, number: int, archive: Spooled) -> None:
        """Put an archive's members in; unlike COPY, they replace what is in their way."""
        self._refuse_non_directory(self._base, self._there)
        self._make_directories(self._base)
        own = {member.entry.path for member in archive.members}
        for entry, offset in archive.members:
            if not entry.path:
                continue  # the archive's own root must not change the directory's attributes
            path = self._behind_links(entry.path, own)
            self._make_directories(split(path)[0])
            if entry.kind == kinds.HARDLINK:
                entry = entry._replace(link=self._behind_links(entry.link, own))
            if self._target.owner is not None:
                uid, gid = self._target.owner
                entry = entry._replace(uid=uid, gid=gid)
            self._put(entry._replace(path=path), number, offset)

    def _behind_links(self, path: str, own: set[str]) -> str:
        """Return where a member goes: links that the image has on the way are followed."""
        parent, name = split(path)
        if parent and parent not in own:
            known = self._resolved.get(parent)
            if known is None:
                known = self._resolved[parent] = self._tree.resolve(self._below(parent))
            return f"{known}/{name}" if known else name
        if parent:
            return f"{self._behind_links(parent, own)}/{name}"
        return self._below(path)

    # -- pieces -----------------------------------------------------------------------------

    def _put(self, entry: Entry, number: int, handle: Any) -> None:
        if entry.kind == kinds.HARDLINK:
            self._linked.add(entry.link)
        if entry.path in self._linked and entry.path in self._planned:
            self._keep_for_links(entry.path)
        self._planned[entry.path] = Planned(entry, number, handle)

    def _keep_for_links(self, path: str) -> None:
        """A later source replaces a file with other names: the first of those gets the content."""
        old = self._planned[path]
        names = [
            name
            for name, planned in self._planned.items()
            if planned.entry.kind == kinds.HARDLINK and planned.entry.link == path
        ]
        for at, name in enumerate(names):
            moved = old.entry._replace(path=name)
            if at:
                moved = self._planned[name].entry._replace(link=names[0])
            self._planned[name] = Planned(moved, old.part, old.handle if at == 0 else None)
        self._linked.discard(path)

    def _below(self, path: str) -> str:
        return f"{self._base}/{path}" if self._base and path else self._base or path

    def _changed(self, entry: Entry, path: str, keeps_owners: bool) -> Entry:
        target = self._target
        uid, gid = target.owner or ((entry.uid, entry.gid) if keeps_owners else (0, 0))
        mode = entry.mode
        if target.chmod is not None and entry.kind != kinds.SYMLINK:
            mode = target.chmod.apply(mode, entry.kind == kinds.DIRECTORY)
        link = self._below(entry.link) if entry.kind == kinds.HARDLINK else entry.link
        return entry._replace(path=path, uid=uid, gid=gid, mode=mode, link=link)

    def _make_directories(self, path: str) -> None:
        """Plan *path* and what is above it.

        What is there already is repeated with its own attributes: engines that unpack a layer by
        itself would otherwise give it the attributes of a directory they make up.
        """
        for parent in _upwards(path):
            if parent in self._planned:
                continue
            found = self._tree.get(parent)
            if found is None:
                entry = self._new_directory(parent)
            else:
                self._refuse_non_directory(parent, found.entry)
                entry = found.entry._replace(path=parent)
            self._planned[parent] = Planned(entry, -1, None)

    def _new_directory(self, path: str) -> Entry:
        target = self._target
        uid, gid = target.owner or (0, 0)
        mode = 0o755
        if target.chmod is not None and target.chmod.octal is not None:
            mode = target.chmod.octal
        return Entry(path, kinds.DIRECTORY, mode, uid, gid, mtime=target.now)

    def _refuse_non_directory(self, path: str, entry: Entry | None) -> None:
        if entry is not None and entry.kind != kinds.DIRECTORY:
            raise BuildError(
                f"cannot copy to non-directory: /{path}",
                hint=f"the image has a {entry.kind} there; remove it in a RUN before",
            )


def make_directories(path: str, target: Target) -> list[Planned]:
    """Return the entries that make the directory *path* (WORKDIR); empty if it is there."""
    plan = _Plan(target)
    resolved = target.tree.resolve(path)
    found = target.tree.get(resolved)
    if found is not None and found.entry.kind == kinds.DIRECTORY:
        return []
    plan._make_directories(resolved)
    return plan.sorted()


def _replaces(path: str) -> BuildError:
    return BuildError(
        f"cannot replace to directory /{path} with file",
        hint="end the destination with a slash to copy into the directory",
    )


def _upwards(path: str) -> Iterator[str]:
    parts = path.split("/") if path else []
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])
