"""COPY and ADD: which entries the layer gets.

Nothing is unpacked or mounted: what the image has already is looked up in its layers' indexes.

Source: Dockerfile reference, "COPY", "ADD"; where the engines differ, BuildKit.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ocitool.builder.chown_chmod import Chmod
from ocitool.builder.context.context import Item
from ocitool.builder.context.parents_exclude import ON_THE_WAY
from ocitool.builder.copy.archive import Spooled
from ocitool.builder.copy.entries import Entries, LayerEntry, require_path
from ocitool.builder.copy.sources import Source
from ocitool.errors import BuildError, LayerError
from ocitool.layer.entry import Entry, Kind, split
from ocitool.layer.index.merged import ImageTree
from ocitool.layer.symlinks import resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One source of a COPY: something in a `Source`, or an archive to unpack."""

    source: Source
    item: Item
    archive: Spooled | None = None
    itself: bool = False  # a directory that is copied itself where the destination has no slash


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The destination, and the attributes of what is copied."""

    dest: str  # absolute; with a trailing slash a directory
    tree: ImageTree  # of the image before
    owner: tuple[int, int] | None = None  # --chown
    chmod: Chmod | None = None
    now: int = 0  # nanoseconds: the time of what the builder makes itself


def plan(parts: Sequence[Part], target: Target) -> Iterable[LayerEntry]:
    """Return the entries of the layer, in its order.

    One directory of the context, which may hold any number of files, comes entry by entry, so
    that memory does not grow with it; anything else is a list.

    Raises (here, or while the entries are taken):
        BuildError: a directory would replace a file, or the other way round.
    """
    plan = _Plan(target)
    if len(parts) == 1 and parts[0].item.is_directory and parts[0].source.random_access:
        return plan.stream(parts[0])
    for number, part in enumerate(parts):
        plan.take(number, part)
    return plan.entries.sorted()


class _Plan:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._tree = target.tree
        self.entries = Entries()
        self._base = self._tree.resolve(target.dest)
        self._resolved: dict[str, str] = {}

    def take(self, number: int, part: Part) -> None:
        if part.archive is not None:
            self._unpack(number, part.archive)
        elif part.item.is_directory:
            self._make_destination(part)
            for entry, handle in self._directory(part):
                self.entries.put(entry, number, handle)
        else:
            self._file(number, part)

    def stream(self, part: Part) -> Iterator[LayerEntry]:
        """Yield the entries for one directory as the walk finds them, which is in order."""
        self._make_destination(part)
        yield from self.entries.sorted()
        for entry, handle in self._directory(part):
            require_path(entry.path)
            yield LayerEntry(entry, 0, handle)

    def _make_destination(self, part: Part) -> None:
        """Plan the destination of a directory, which gets the directory's time, new or not."""
        there = self._at(self._base)
        self.make_directories(self._base)
        if made := self.entries.get(self._base):
            own = part.itself and there is None and not self._target.dest.endswith("/")
            if own and self._target.chmod is not None:
                made = self._changed(made._replace(mode=0o755), self._base, keeps_owners=False)
            self.entries.put(made._replace(mtime=part.source.mtime(part.item)), -1, None)

    # -- the three kinds --------------------------------------------------------------------

    def _directory(self, part: Part) -> Iterator[tuple[Entry, Any]]:
        fresh: set[str] = set()  # directories that were not there before: nor is what is in them
        for entry, handle in part.source.walk(part.item):
            path = self._below(entry.path)
            found = None if split(entry.path)[0] in fresh else self._at(path)
            if entry.kind == Kind.DIRECTORY:
                self._refuse_non_directory(path, found)
                leads_on, handle = handle == ON_THE_WAY, None
                if found is None:
                    fresh.add(entry.path)
                elif leads_on:
                    # What is there keeps its owner and time.
                    yield found._replace(path=path, mode=entry.mode), None
                    continue
            else:
                _refuse_directory(path, found)
            yield self._changed(entry, path, part.source.keeps_owners), handle

    def _file(self, number: int, part: Part) -> None:
        there = self._at(self._base)
        entry, handle = part.source.file(part.item)
        path = self._base
        if self._target.dest.endswith("/") or (there and there.kind == Kind.DIRECTORY):
            self._refuse_non_directory(self._base, there)
            # A link of that name is replaced, not followed; the destination itself is followed.
            path = self._below(entry.path)
        _refuse_directory(path, self._at(path))
        self.make_directories(split(path)[0])
        self.entries.put(self._changed(entry, path, part.source.keeps_owners), number, handle)

    def _unpack(self, number: int, archive: Spooled) -> None:
        """Add the members of an archive; unlike COPY, they replace files and directories."""
        self._refuse_non_directory(self._base, self._at(self._base))
        self.make_directories(self._base, replace(self._target, chmod=None))
        self._resolved.clear()
        own: dict[str, str] = {}  # what the members so far are: links, or ""
        for entry, offset in archive.members:
            if not entry.path:
                continue  # the archive's own root must not change the directory's attributes
            path = self._behind_links(entry.path, own)
            # What names alone imply is root's, whatever the flags say of the members.
            self.make_directories(split(path)[0], replace(self._target, owner=(0, 0), chmod=None))
            if entry.kind == Kind.HARDLINK:
                entry = entry._replace(link=self._linked_to(entry, path, own))
            if self._target.owner is not None:
                uid, gid = self._target.owner
                entry = entry._replace(uid=uid, gid=gid)
            if entry.kind == Kind.DIRECTORY:
                self._refuse_again(path)
            inside = path[len(self._base) + 1 :] if self._base else path
            link = entry.link if entry.kind == Kind.SYMLINK else ""
            if self._link(inside, own) != link:
                self._resolved.clear()
            # A file counts where it replaces a link.
            if entry.kind in (Kind.SYMLINK, Kind.DIRECTORY) or inside in own:
                own[inside] = link
            self.entries.put(entry._replace(path=path), number, offset)
            if entry.kind == Kind.HARDLINK:
                self.entries.describe(path, entry)

    def _behind_links(self, path: str, own: Mapping[str, str]) -> str:
        """Return the path of a member: symbolic links that are there in it are followed.

        As docker and BuildKit unpack it: the destination is the root to which links lead.
        """
        parent, name = split(path)
        known = self._resolved.get(parent)
        if known is None:
            known = self._resolved[parent] = resolve(parent, lambda each: self._link(each, own))
        return self._below(f"{known}/{name}" if known else name)

    def _link(self, path: str, own: Mapping[str, str]) -> str:
        """Return the target of a link below the destination; *own* are links of the archive."""
        if path in own:
            return own[path]
        path = self._below(path)
        earlier = self.entries.get(path)
        if earlier is None:
            return self._tree.readlink(path)
        return earlier.link if earlier.kind == Kind.SYMLINK else ""

    def _linked_to(self, entry: Entry, path: str, own: Mapping[str, str]) -> str:
        """Return what a hard link of an archive names; its own *path* is removed before."""
        link = self._behind_links(entry.link, own)
        target = self._at(link)
        removed = f"{link}/".startswith(f"{path}/") or self._is_below_file(link)
        if target is None or target.kind == Kind.DIRECTORY or removed:
            raise LayerError("hard link to a missing file", where=entry.path)
        return link

    def _refuse_again(self, path: str) -> None:
        """Refuse a directory in place of a file that has replaced a directory of the image.

        What the image has in it would be there again: a layer of ADD has no opaque whiteouts.
        """
        earlier, there = self.entries.get(path), self._tree.get(path)
        if earlier is None or earlier.kind == Kind.DIRECTORY or there is None:
            return
        if there.entry.kind == Kind.DIRECTORY:
            raise LayerError(
                f"the archive replaces the directory /{path} of the image by a file, and that by a"
                " directory, which is not supported",
                hint="unpack it in a RUN",
            )

    def _is_below_file(self, path: str) -> bool:
        """Say whether what the image has at *path* is gone: a file replaces a directory above."""
        above = map(self.entries.get, _upwards(split(path)[0]))
        return any(entry is not None and entry.kind != Kind.DIRECTORY for entry in above)

    # -- pieces -----------------------------------------------------------------------------

    def _at(self, path: str) -> Entry | None:
        """Return what an earlier source has put at *path*, or else the image."""
        earlier = self.entries.get(path)
        if earlier is not None:
            return earlier
        found = self._tree.get(path)
        return None if found is None else found.entry

    def _below(self, path: str) -> str:
        return f"{self._base}/{path}" if self._base and path else self._base or path

    def _changed(self, entry: Entry, path: str, keeps_owners: bool) -> Entry:
        target = self._target
        uid, gid = target.owner or ((entry.uid, entry.gid) if keeps_owners else (0, 0))
        mode = entry.mode
        if target.chmod is not None and entry.kind != Kind.SYMLINK:
            mode = target.chmod.apply(mode, entry.kind == Kind.DIRECTORY)
        link = self._below(entry.link) if entry.kind == Kind.HARDLINK else entry.link
        return entry._replace(path=path, uid=uid, gid=gid, mode=mode, link=link)

    def make_directories(self, path: str, target: Target | None = None) -> None:
        """Plan *path* and what is above it; new directories get the attributes of *target*.

        What is there already is repeated with its own attributes: engines that unpack a layer by
        itself would otherwise give it the attributes of a directory they make up.
        """
        above: Entry | None = None
        for parent in _upwards(path):
            earlier = self.entries.get(parent)
            if earlier is not None:
                self._refuse_non_directory(parent, earlier)
                above = earlier
                continue
            found = self._tree.get(parent)
            if found is None:
                entry = _new_directory(parent, target or self._target, above)
            else:
                self._refuse_non_directory(parent, found.entry)
                entry = found.entry._replace(path=parent)
            self.entries.put(entry, -1, None)
            above = entry

    def _refuse_non_directory(self, path: str, entry: Entry | None) -> None:
        if entry is not None and entry.kind != Kind.DIRECTORY:
            raise BuildError(
                f"cannot copy to non-directory: /{path}",
                hint=f"the image has a {entry.kind} at this path; remove it in an earlier RUN",
            )


def _new_directory(path: str, target: Target, above: Entry | None) -> Entry:
    """Return the entry that mkdir(2) makes in *above*: the bit set-group-ID and its group stay."""
    uid, gid = target.owner or (0, 0)
    mode = 0o755
    if target.chmod is not None and target.chmod.octal is not None:
        mode = target.chmod.octal & 0o777  # set-ID and sticky bits are for what is copied
    if above is not None and above.mode & stat.S_ISGID:
        mode |= stat.S_ISGID
        gid = gid if target.owner else above.gid
    return Entry(path, Kind.DIRECTORY, mode, uid, gid, mtime=target.now)


def make_directories(path: str, target: Target) -> list[LayerEntry]:
    """Return the entries that make the directory *path* (WORKDIR); empty if it is there."""
    plan = _Plan(target)
    resolved = target.tree.resolve(path)
    found = target.tree.get(resolved)
    if found is not None and found.entry.kind == Kind.DIRECTORY:
        return []
    if found is not None:
        raise BuildError(
            f"cannot create directory /{resolved}: the image has a {found.entry.kind} there",
            hint="remove it in an earlier RUN, or choose another directory",
        )
    plan.make_directories(resolved)
    return plan.entries.sorted()


def _refuse_directory(path: str, entry: Entry | None) -> None:
    if entry is not None and entry.kind == Kind.DIRECTORY:
        raise BuildError(
            f"cannot replace to directory /{path} with file",
            hint=(
                "end the destination with a slash to copy into a directory; to replace a "
                "directory with a file, remove it in an earlier RUN"
            ),
        )


def _upwards(path: str) -> Iterator[str]:
    parts = path.split("/") if path else []
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])
