"""A tar as a build context: unpacked into a directory, in one pass.

Names mean what they mean to tar in a chroot(2): ``..`` and links end at the directory, whatever
they say.  Owners are left out, since files of a context are root's.  Names of whiteouts are names
like others here: COPY refuses them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Final

from ocitool.builder.copy.archive import placed
from ocitool.builder.copy.descendants import Descendants
from ocitool.errors import LayerError, UnsupportedEntry
from ocitool.image.decompress import plain
from ocitool.layer import xattrs
from ocitool.layer.beneath import Root, remove_tree
from ocitool.layer.entry import Entry, Kind, kind_of, split
from ocitool.layer.fileio import write_all_at
from ocitool.layer.tar.reader import TarReader
from ocitool.oci.content import Stream

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_PADDING: Final = 64 << 20  # bytes behind the end of an archive
_DEFAULT_ACL: Final = "system.posix_acl_default"


def unpack(stream: Stream, directory: str, shown: str, warn: Callable[[str], object]) -> None:
    """Unpack the tar *stream*, plain or compressed, into the empty *directory*.

    *shown* is what messages call it; *warn* gets what cannot be kept of it here.

    Raises:
        FormatError: it is not a tar.
        LayerError: it is corrupt or truncated, or has a device.
        OSError: the file system failed.
    """
    tar = plain(stream, shown)
    reader = TarReader(tar)
    links: dict[str, str] = {}
    with Root(directory) as root:
        files = _Files(root, reader)
        for entry in reader:
            try:
                files.add(placed(entry, links))
            except OSError as error:
                raise _translated(error, entry) from error
        reader.drain(_MOST_PADDING)
        files.finish()
    for name, count in files.refused.items():
        warn(f"{shown}: this user cannot set the attribute {name}: {count} files are without it")


class _Files:
    """Makes the members of a tar beneath *root*."""

    def __init__(self, root: Root, reader: TarReader) -> None:
        self._root = root
        self._reader = reader
        #: What directories get when everything is in them; None for those that names imply.
        self._directories: dict[str, Entry | None] = {"": None}
        self._below = Descendants()  # of them
        self._latest = 0  # nanoseconds; the time of implied directories
        self.refused: dict[str, int] = {}
        with contextlib.suppress(OSError):  # it has none, or there are none here
            os.removexattr(root.fd, _DEFAULT_ACL)

    def add(self, entry: Entry) -> None:
        self._latest = max(self._latest, entry.mtime)
        directory, name = split(entry.path)
        if entry.kind in (Kind.CHAR, Kind.BLOCK):
            raise UnsupportedEntry(
                "a build context cannot have a device",
                where=entry.path,
                hint="leave it out of the archive, or ADD an archive that has it",
            )
        if entry.kind == Kind.DIRECTORY:
            self._make_directory(entry.path)
            self._directories[entry.path] = entry
            return
        fd = self._directory(directory)
        self._clear(fd, entry.path)
        if entry.kind == Kind.FILE:
            self._file(fd, name, entry)
        elif entry.kind == Kind.HARDLINK:
            self._link(fd, name, entry)
        elif entry.kind == Kind.SYMLINK:
            os.symlink(entry.link, name, dir_fd=fd)
            self._finish_node(fd, name, entry)
        else:
            os.mkfifo(name, dir_fd=fd)
            os.chmod(name, entry.mode, dir_fd=fd)
            self._finish_node(fd, name, entry)

    def _directory(self, path: str) -> int:
        """Return a descriptor of the directory *path*, which is made if it is missing."""
        try:
            return self._root.directory(path)
        except FileNotFoundError:
            self._make_directory(path)
            return self._root.directory(path)

    def _make_directory(self, path: str) -> None:
        done = ""
        for name in path.split("/") if path else ():
            fd = self._root.directory(done)
            done = f"{done}/{name}" if done else name
            if done in self._directories:
                continue
            if done == path:
                self._clear(fd, done)
            os.mkdir(name, 0o700, dir_fd=fd)
            self._directories[done] = None
            self._below.note(done)

    def _clear(self, fd: int, path: str) -> None:
        """Remove what is at *path*, in the directory *fd*: the later of two members counts."""
        name = split(path)[1]
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):  # the latter by POSIX
            remove_tree(name, dir_fd=fd)
            self._root.forget(path)
            for gone in (path, *self._below.drop(path)):
                self._directories.pop(gone, None)

    def _file(self, fd: int, name: str, entry: Entry) -> None:
        file = os.open(name, _NEW_FILE, 0o600, dir_fd=fd)
        try:
            for at, data in self._reader.runs():
                write_all_at(file, data, at)
            if self._reader.sparse is not None:
                os.ftruncate(file, entry.size)
            os.fchmod(file, entry.mode)
            self._attributes(file, entry)
            os.utime(file, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(file)

    def _link(self, fd: int, name: str, entry: Entry) -> None:
        fd = os.dup(fd)  # the next look-up may close it
        try:
            directory, target = split(entry.link)
            source = self._root.directory(directory)
            kind = kind_of(os.lstat(target, dir_fd=source).st_mode)
            if kind == Kind.DIRECTORY:
                raise LayerError("a hard link to a directory", where=entry.path)
            os.link(target, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
            if kind != Kind.SYMLINK:  # of several headers of a file the last one counts, as in ADD
                os.chmod(name, entry.mode, dir_fd=fd)
                os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(fd)

    def _finish_node(self, fd: int, name: str, entry: Entry) -> None:
        self._attributes(f"/proc/self/fd/{fd}/{name}", entry)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)

    def _attributes(self, file: int | str, entry: Entry) -> None:
        try:
            refused = xattrs.write(file, xattrs.kept(entry.xattrs, entry.kind))
        except LayerError as error:
            error.where = entry.path
            raise
        for name in refused:
            self.refused[name] = self.refused.get(name, 0) + 1

    def finish(self) -> None:
        """Give directories what they have; those inside others first."""
        for path in sorted(self._directories, reverse=True):
            entry = self._directories[path] or Entry(
                path, Kind.DIRECTORY, 0o755, mtime=self._latest
            )
            fd = self._root.directory(path)
            if path:  # of the top only the time is ever copied
                self._attributes(fd, entry)
                os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(entry.mtime, entry.mtime))


def _translated(error: OSError, entry: Entry) -> Exception:
    if isinstance(error, FileNotFoundError) and entry.kind == Kind.HARDLINK:
        return LayerError(f"it is a hard link to {entry.link}, which is missing", where=entry.path)
    if isinstance(error, FileExistsError | FileNotFoundError | NotADirectoryError):
        return LayerError("a parent of it is not a directory", where=entry.path)
    return error
