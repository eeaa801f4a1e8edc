"""Applying a layer's entries to a tree: the rules, whatever form the tree has.

The forms are a directory of a file system (`ocitool.layer.unpack.target`), an EROFS image
(`ocitool.layer.erofs.target`), a tree of entries (`ocitool.layer.index.target`), and one that a
directory is compared with (`ocitool.layer.changes.expected`).

Source: OCI image-spec v1.1, layer.md, "Applying Changesets"; the kernel's overlayfs.rst.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from ocitool.errors import LayerError
from ocitool.layer.entry import AUFS, NO_WHITEOUTS, OPAQUE, WHITEOUT, Entry, Kind, split
from ocitool.layer.symlinks import resolve

_IN_AUFS: Final = f"/{AUFS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was unpacked.  ``notes`` says what the machine refused and was left out."""

    entries: int
    size: int  # bytes of file content
    notes: tuple[str, ...] = ()


class Target(Protocol):
    """A tree that a layer is applied to; it may lie on the trees of the layers below.

    Paths are clean (`Entry.path`), and no directory in them is a symbolic link.  `find`, `covers`
    and `root_names` consider the layers below; all others the tree alone.  Before anything is
    changed in a directory, `enter` has returned True for it.
    """

    notes: dict[str, int]
    """What was left out, and how often."""

    def enter(self, path: str) -> bool:
        """Say whether *path* is a directory; if so, changes in it will not change its time."""

    def kind(self, path: str) -> str:
        """Return the `Kind` of *path*, `Kind.WHITEOUT` for a whiteout, and ``""`` if missing."""

    def names(self, path: str) -> Iterable[tuple[str, bool]]:
        """Return the names in the directory *path*, and which of them are directories."""

    def find(self, path: str) -> Entry | None:
        """Return *path* as the tree shows it with the layers below; no link is followed."""

    def covers(self, path: str) -> bool:
        """Say whether the layers below have something at *path* that this tree could hide."""

    def root_names(self) -> Iterable[str]:
        """Return all names in the root directories of the tree and of the layers below."""

    def create(self, directory: str, name: str, entry: Entry) -> bool:
        """Make the file, symbolic link or special file *entry*, with its content.

        False if this user may not make it: it is a device.

        Raises:
            FileExistsError: there is something at its path; nothing is done.
        """

    def make_directory(self, path: str) -> None:
        """Make the directory *path*, its attributes to be set; FileExistsError as `create`."""

    def set_attributes(self, path: str, entry: Entry | None, *, new: bool) -> None:
        """Give the directory *path* the attributes of *entry* and no others; opaque stays opaque.

        None stands for a directory without an entry: 0755, owned by root, at the epoch.
        """

    def copy_up(self, path: str) -> bool:
        """Make what the layers below have at *path* a file of this tree; False if they have none.

        It is no directory.  Its other names in the layers below do not change with it any more.
        """

    def describe(self, path: str, link: Entry) -> None:
        """Give the file *path* the attributes that the header of *link* says: `described`."""

    def link(self, source: str, path: str) -> None:
        """Make *path* another name of the file *source*; FileExistsError as `create`."""

    def remove(self, path: str) -> None:
        """Remove *path* with all that is in it, if it is there."""

    def whiteout(self, path: str) -> None:
        """Make *path*, which is missing, a whiteout."""

    def make_opaque(self, path: str) -> None:
        """Hide what the layers below have in the directory *path*."""


class Changeset:
    """Applies the entries of one layer, in their order, to a target."""

    def __init__(self, target: Target) -> None:
        self._target = target
        # The paths of this layer: True if it has an entry for them, False for the directories
        # that it only names in paths, and that look as the layers below have them.
        self._ours: dict[str, bool] = {"": True}
        self._copied: set[str] = set()  # paths that were copied up
        self._left_out: set[str] = set()
        self._entries = 0
        self._size = 0

    def applied(self) -> Applied:
        """Return what has been applied."""
        notes = tuple(f"{note} ({count} entries)" for note, count in self._target.notes.items())
        return Applied(entries=self._entries, size=self._size, notes=notes)

    def add(self, entry: Entry) -> None:
        """Apply the next entry; `LayerError` if it cannot be."""
        self._entries += 1
        self._size += entry.size
        parent, _, name = entry.path.rpartition("/")
        try:
            if name.startswith(WHITEOUT):
                self._whiteout(entry, parent, name)
            elif AUFS not in parent or not (parent.startswith(AUFS) or _IN_AUFS in parent):
                self._member(entry, parent, name)
        except LayerError as error:
            error.where = error.where or entry.path
            raise

    def _member(self, entry: Entry, parent: str, name: str) -> None:
        target = self._target
        if not name:
            target.set_attributes("", entry, new=False)
            return
        if not target.enter(parent):
            parent = self._resolve(parent)
            entry = entry._replace(path=f"{parent}/{name}" if parent else name)
        path, kind = entry.path, entry.kind
        if self._left_out:
            self._left_out.discard(path)
        if kind == Kind.DIRECTORY:
            self._directory(path, entry)
            made = True
        elif kind == Kind.HARDLINK:
            made = self._hard_link(path, entry)
        elif kind == Kind.CHAR and entry.device == (0, 0):
            # It would read as a whiteout; only `.wh.` names are whiteouts in a layer.
            raise LayerError("a character device 0:0 is not allowed", where=path)
        else:
            try:
                made = target.create(parent, name, entry)
            except FileExistsError:
                self._make_way(path)
                made = target.create(parent, name, entry)
            if not made:
                self._leave_out(path)
        if made:
            self._ours[path] = True
            if parent not in self._ours:
                self._claim(parent)

    def _leave_out(self, path: str) -> bool:
        # Without privileges there are no device nodes; containers get their own /dev.
        self._left_out.add(path)
        text = "device nodes were left out: this user may not make them"
        self._target.notes[text] = self._target.notes.get(text, 0) + 1
        return False

    def _directory(self, path: str, entry: Entry) -> None:
        new = True
        try:
            self._target.make_directory(path)
        except FileExistsError:
            new = not self._target.enter(path)
            if new:
                self._replace_by_directory(path)
        self._target.set_attributes(path, entry, new=new)

    def _replace_by_directory(self, path: str) -> bool:
        """Replace *path* with a directory; True if it hides what the layers below have."""
        hides = self._make_way(path)
        self._target.make_directory(path)
        if hides:
            self._target.make_opaque(path)
        return hides

    def _hard_link(self, path: str, entry: Entry) -> bool:
        target = self._target
        directory, name = split(entry.link)
        if not target.enter(directory):
            directory = self._resolve(directory)
        source = f"{directory}/{name}" if directory else name
        if source == path:
            raise LayerError("the hard link points to itself", where=path)
        if source in self._left_out:
            return self._leave_out(path)
        # It could be in a directory whose place the link takes.
        if not self._is_linkable(source) or source.startswith(f"{path}/"):
            raise LayerError(
                f"the hard link's target {entry.link!r} is not a file of this layer or a lower one",
                where=path,
            )
        target.describe(source, entry)
        try:
            target.link(source, path)
        except FileExistsError:
            self._make_way(path)
            target.link(source, path)
        return True

    def _is_linkable(self, path: str) -> bool:
        """Say whether *path* is a file; one of the layers below is then copied up."""
        kind = self._target.kind(path)
        if kind in (Kind.DIRECTORY, Kind.WHITEOUT):
            return False
        if kind and (path in self._ours or path in self._copied):
            return True
        self._copied.add(path)
        return self._target.copy_up(path)

    def _claim(self, path: str) -> None:
        """Note that the layer has the directory *path*, and with it those that it is in."""
        while path not in self._ours:
            self._ours[path] = False
            path = split(path)[0]

    def _make_way(self, path: str) -> bool:
        """Remove *path*; True if what the layers below have there must stay hidden."""
        kind = self._target.kind(path)
        self._target.remove(path)
        was_ours = self._ours.pop(path, None) is not None
        if kind != Kind.DIRECTORY:
            # It hid what is below, which a directory in its place must not show again.
            return kind == Kind.WHITEOUT or (was_ours and self._target.covers(path))
        inside = path + "/"
        for known in [known for known in self._ours if known.startswith(inside)]:
            del self._ours[known]
        return False

    # -- whiteouts --------------------------------------------------------------------------

    def _whiteout(self, entry: Entry, parent: str, name: str) -> None:
        if name == OPAQUE:
            self._hide_all(parent)
        elif name in NO_WHITEOUTS:
            raise LayerError("the whiteout has no name", where=entry.path)
        elif not name.startswith(AUFS) and self._shows_directory(parent):
            parent = self._resolve(parent)
            name = name.removeprefix(WHITEOUT)
            self._hide(f"{parent}/{name}" if parent else name)

    def _hide_all(self, path: str) -> None:
        """Hide what the layers below have in the directory *path*."""
        path = self._resolve(path)
        if path:
            self._claim(path)
            self._target.make_opaque(path)
            self._keep_ours(path)
        else:  # overlayfs does not look for an opaque xattr on the root itself
            for name in set(self._target.root_names()):
                self._hide(name)

    def _hide(self, path: str) -> None:
        """Hide what the layers below have at *path*; what this layer has there stays."""
        if path not in self._ours:
            self._target.remove(path)  # made only for what is in it, or copied up for a link
            if self._target.covers(path):  # or overlayfs would list the whiteout
                self._target.whiteout(path)
        elif self._target.enter(path):  # a file hides it without a mark
            self._target.make_opaque(path)
            self._forget_below(path)
            self._keep_ours(path)

    def _keep_ours(self, path: str) -> None:
        """Remove from the directory *path* what this layer does not have."""
        for name, is_directory in self._target.names(path):
            child = f"{path}/{name}"
            if child not in self._ours:
                self._target.remove(child)
            elif is_directory:
                self._forget_below(child)
                self._keep_ours(child)

    def _forget_below(self, path: str) -> None:
        """Reset what the directory *path* has from the layers below, if it has no entry."""
        if not self._ours[path]:
            self._target.set_attributes(path, None, new=False)

    # -- directories ------------------------------------------------------------------------

    def _resolve(self, path: str) -> str:
        """Return the directory *path* without links, made where it is missing."""
        return path if self._target.enter(path) else resolve(path, self._step)

    def _step(self, path: str) -> str:
        """Return the target of the link *path*; anything else is made a directory of the tree."""
        if self._target.enter(path):
            return ""
        found = self._target.find(path)
        if found is not None and found.kind == Kind.SYMLINK:
            return found.link
        if path in self._ours:
            raise LayerError("cannot unpack the entry: Not a directory", where=path)
        inherits = found is not None and found.kind == Kind.DIRECTORY
        try:
            self._target.make_directory(path)
        except FileExistsError:  # whited out earlier in this layer, or copied up
            inherits = not self._replace_by_directory(path) and inherits
        self._target.set_attributes(path, found if inherits else None, new=True)
        return ""

    def _shows_directory(self, path: str) -> bool:
        """Say whether *path*, links followed, is a directory of the tree or of those below."""

        def step(path: str) -> str:
            if self._target.enter(path):
                return ""
            found = self._target.find(path)
            if found is not None and found.kind == Kind.SYMLINK:
                return found.link
            if found is None or found.kind != Kind.DIRECTORY:
                raise _Missing
            return ""

        try:
            resolve(path, step)
        except _Missing:
            return False
        return True


class _Missing(Exception):
    """A path leads to no directory."""
