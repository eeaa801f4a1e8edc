"""A directory of a file system as the target of a layer."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from typing import Final

from ocitool.errors import TooLarge
from ocitool.layer.beneath import Root, remove_tree
from ocitool.layer.entry import Entry, Kind, described, kind_of, split
from ocitool.layer.fileio import copy_data, write_all_at
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.unpack import lower_layers as trees
from ocitool.layer.unpack.metadata import Attributes
from ocitool.layer.unpack.whiteouts import Whiteouts, is_whiteout

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEFAULT_ACL: Final = "system.posix_acl_default"
#: How often a name may get another owner because another name of its file has got it.  Layers that
#: tools write need none: all headers of a file have one owner.
_MOST_CHANGES: Final = 1_000_000
_TYPES: Final = {Kind.CHAR: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}


class DirectoryTarget:
    """The tree *root*, which is at *tree* and lies on *lower*, the topmost first.

    The content of files comes from the member that *reader* is at.  `finish` is to be called when
    everything was applied.
    """

    def __init__(
        self,
        root: Root,
        tree: str,
        lower: Sequence[str],
        whiteouts: Whiteouts,
        reader: TarReader,
    ) -> None:
        self._root = root
        self._tree = tree
        self._lower = tuple(lower)
        self._stack = (tree, *lower)
        self._whiteouts = whiteouts
        self._reader = reader
        self._attributes = Attributes()
        self.notes = self._attributes.notes
        # Of the directories that were entered: what they get when everything is in them.
        self._times: dict[str, int] = {}
        self._default_acls: dict[str, bytes] = {}
        self._setgid: set[str] = set()
        #: All names of a link or a pipe whose owner is recorded by name, by each of these names.
        self._names: dict[str, list[str]] = {}
        self._changes = 0  # of owners that are kept by name, beside the one that a header is about
        self._entered: str | None = None  # the last one: most entries follow one of their directory
        self.enter("")

    def enter(self, path: str) -> bool:
        if path == self._entered:
            return True
        try:
            fd = self._root.directory(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if path not in self._times:  # it was there before: adding to it must not touch its time
            state = os.fstat(fd)
            self._remember(path, fd, state.st_mode, state.st_mtime_ns)
        self._entered = path
        return True

    def kind(self, path: str) -> str:
        directory, name = split(path)
        try:
            state = os.lstat(name, dir_fd=self._root.directory(directory))
        except FileNotFoundError:
            return ""
        return Kind.WHITEOUT if is_whiteout(state) else kind_of(state.st_mode)

    def names(self, path: str) -> Iterable[tuple[str, bool]]:
        with os.scandir(self._root.directory(path)) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]

    def find(self, path: str) -> Entry | None:
        return trees.look(self._stack, path)

    def covers(self, path: str) -> bool:
        return trees.covers(self._lower, self._tree, path)

    def root_names(self) -> Iterable[str]:
        return [name for tree in self._stack for name in os.listdir(tree)]

    def create(self, directory: str, name: str, entry: Entry) -> bool:
        fd = self._root.directory(directory)
        self._attributes.inherits_group = directory in self._setgid
        if entry.kind == Kind.FILE:
            self._file(fd, name, entry)
            return True
        return self._node(fd, name, entry)

    def _file(self, fd: int, name: str, entry: Entry) -> None:
        file = os.open(name, _NEW_FILE, self._attributes.creation_mode(entry), dir_fd=fd)
        try:
            for at, data in self._reader.runs():
                written = os.pwrite(file, data, at)
                if written < len(data):
                    write_all_at(file, data[written:], at + written)
            if self._reader.sparse is not None:
                os.ftruncate(file, entry.size)
            self._attributes.set_file(file, entry)
        finally:
            os.close(file)

    def _node(self, fd: int, name: str, entry: Entry) -> bool:
        if entry.kind == Kind.SYMLINK:
            os.symlink(entry.link, name, dir_fd=fd)
        elif not self._special(fd, name, entry):
            return False
        self._attributes.set_node(fd, name, entry)
        return True

    def _special(self, fd: int, name: str, entry: Entry) -> bool:
        mode = _TYPES[entry.kind] | (entry.mode & 0o777)
        try:
            self._attributes.owners.make_device(name, mode, os.makedev(*entry.device), fd)
        except PermissionError:
            if entry.kind == Kind.FIFO:
                raise
            return False
        return True

    def make_directory(self, path: str) -> None:
        directory, name = split(path)
        os.mkdir(name, 0o700, dir_fd=self._root.directory(directory))

    def set_attributes(self, path: str, entry: Entry | None, *, new: bool) -> None:
        if entry is None:
            entry = Entry(path, Kind.DIRECTORY, 0o755, os.geteuid(), os.getegid())
        fd = self._root.directory(path)
        self._attributes.set_directory(fd, entry, merged=not new)
        self._remember(path, fd, entry.mode, entry.mtime)

    def copy_up(self, path: str) -> bool:
        directory, name = split(path)
        found = trees.find(self._stack, path)
        if found is None:
            return False
        host_path, state = found
        is_here = host_path == f"{self._tree}/{path}"  # of a tree that has the layers below in it
        if is_here and state.st_nlink == 1:
            return True
        entry = trees.entry_of(path, host_path, state)
        if entry.kind in ("", Kind.DIRECTORY):
            return False
        fd = self._root.directory(directory)
        self._attributes.inherits_group = directory in self._setgid
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(open(host_path, "rb")) if entry.kind == Kind.FILE else None
            if is_here:
                os.unlink(name, dir_fd=fd)
            if source is None:
                return self._node(fd, name, entry)
            new = os.open(name, _NEW_FILE, self._attributes.creation_mode(entry), dir_fd=fd)
            file = stack.enter_context(open(new, "wb"))
            copy_data(source.fileno(), file.fileno())
            self._attributes.set_file(file.fileno(), entry)
        return True

    def describe(self, path: str, link: Entry) -> None:
        directory, name = split(path)
        host_path = f"{self._tree}/{path}"
        fd = self._root.directory(directory)
        state = self._attributes.owners.effective(host_path, os.lstat(name, dir_fd=fd))
        known = trees.entry_of(path, host_path, state)
        entry = described(known, link)
        if entry != known:
            self._attributes.change(fd, name, entry)
            names = self._names.get(path, ())
            self._changes += len(names)
            if self._changes > _MOST_CHANGES:
                raise TooLarge(
                    "the headers of hard links have too many different owners", where=path
                )
            for other in names:
                self._describe_name(other, entry, state.st_ino)

    def _describe_name(self, path: str, entry: Entry, inode: int) -> None:
        """Give a name the owner of *entry*, which is another name of the same file.

        It is necessary where owners are recorded by name, as those of links and pipes are.
        """
        directory, name = split(path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # removed since
            fd = self._root.directory(directory)
            if os.lstat(name, dir_fd=fd).st_ino == inode:
                self._attributes.owners.give_node(name, entry, fd)

    def link(self, source: str, path: str) -> None:
        (source_directory, target), (directory, name) = split(source), split(path)
        source_fd = os.dup(self._root.directory(source_directory))  # the next look-up may close it
        try:
            fd = self._root.directory(directory)
            os.link(target, name, src_dir_fd=source_fd, dst_dir_fd=fd, follow_symlinks=False)
            if self._attributes.owners.linked(name, fd, target, source_fd):
                names = self._names.setdefault(source, [source])
                names.append(path)
                self._names[path] = names
        finally:
            os.close(source_fd)

    def remove(self, path: str) -> None:
        directory, name = split(path)
        self.enter(directory)
        remove_tree(name, dir_fd=self._root.directory(directory))
        self._root.forget(path)
        self._entered = None

    def whiteout(self, path: str) -> None:
        directory, name = split(path)
        self._whiteouts.whiteout(self._root.directory(directory), name)

    def make_opaque(self, path: str) -> None:
        self._whiteouts.opaque(self._root.directory(path))

    def finish(self) -> None:
        """Set the times and default ACLs of all directories that were entered."""
        for path, mtime in self._times.items():
            try:
                fd = self._root.directory(path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed since
            if path in self._default_acls:
                os.setxattr(fd, _DEFAULT_ACL, self._default_acls[path])
            os.utime(fd, ns=(mtime, mtime))

    def _remember(self, path: str, fd: int, mode: int, mtime: int) -> None:
        """Remember a directory's time and its default ACL, and take the ACL from it.

        A layer says all that is known of a file: nothing may come from the directory that it is in,
        neither by a default ACL nor by the group of one with the setgid bit.
        """
        if mode & stat.S_ISGID:
            self._setgid.add(path)
        else:
            self._setgid.discard(path)
        self._times[path] = mtime
        self._default_acls.pop(path, None)
        with contextlib.suppress(OSError):  # it has none, or there are none here
            self._default_acls[path] = os.getxattr(fd, _DEFAULT_ACL)
            os.removexattr(fd, _DEFAULT_ACL)
