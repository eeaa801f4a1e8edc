"""Unpacking: a layer's members onto a tree.

Source: OCI image-spec v1.1, layer.md, "Applying Changesets".
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ocitool.errors import LayerError
from ocitool.layer import entry as kinds
from ocitool.layer import xattrs
from ocitool.layer.compression import CHUNK
from ocitool.layer.entry import AUFS, DEFAULT_LIMITS, OPAQUE, WHITEOUT, Entry, Limits, split
from ocitool.layer.lower import copy_up, inherit
from ocitool.layer.reader import TarReader
from ocitool.layer.root import Root, current_umask, remove_tree
from ocitool.layer.whiteouts import Whiteouts
from ocitool.oci.content import Stream

_SPECIAL_BITS: Final = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was unpacked.  ``notes`` says what the machine refused and was left out."""

    entries: int
    size: int  # bytes of file content
    notes: tuple[str, ...] = ()


def apply(
    stream: Stream,
    tree: str,
    whiteouts: Whiteouts,
    *,
    lower: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> Applied:
    """Unpack the tar *stream* onto the directory *tree* and read it to its end.

    *lower* are the trees that *tree* will be stacked on, the topmost first: directories that the
    layer uses without having them take their attributes from there.  On an error the tree is left
    half done, for the caller to remove.

    Raises:
        LayerError: the archive is damaged, hostile, or cannot be represented here.
        OSError: the file system failed.
    """
    with Root(tree) as root:
        return _Applier(root, whiteouts, lower).run(TarReader(stream, limits))


class _Applier:
    def __init__(self, root: Root, whiteouts: Whiteouts, lower: Sequence[str]) -> None:
        self._root = root
        self._whiteouts = whiteouts
        self._lower = lower
        self._ours: set[str] = set()
        self._times: dict[str, int] = {"": os.fstat(root.fd).st_mtime_ns}  # of directories
        self._notes: dict[str, int] = {}
        # Bits that open(2) does not set by itself.  The umask is read, not set: it belongs to the
        # whole process, and other threads make files, too.
        self._chmod_bits = _SPECIAL_BITS | current_umask()
        self._uid = os.geteuid()
        self._gid = os.getegid()

    def run(self, reader: TarReader) -> Applied:
        count = size = 0
        for member in reader:
            count += 1
            size += member.size
            parent, name = split(member.path)
            try:
                if name.startswith(WHITEOUT):
                    self._whiteout(member, parent, name)
                else:
                    self._member(member, parent, name, reader)
            except OSError as error:
                raise _translated(error, member) from error
        reader.drain()
        self._finish_directories()
        notes = tuple(f"{note} ({n} entries)" for note, n in self._notes.items())
        return Applied(entries=count, size=size, notes=notes)

    def _member(self, member: Entry, parent: str, name: str, reader: TarReader) -> None:
        if not name:
            self._directory_attributes(self._root.fd, member)
            return
        fd = self._parent(parent)
        if member.kind == kinds.FILE:
            self._file(fd, name, member, reader)
        elif member.kind == kinds.DIRECTORY:
            self._directory(fd, name, member)
        elif member.kind == kinds.HARDLINK:
            self._hard_link(fd, name, member)
        elif member.kind == kinds.SYMLINK:
            self._retry(fd, name, member, lambda: os.symlink(member.link, name, dir_fd=fd))
            self._unopened_attributes(fd, name, member)
        else:
            self._special(fd, name, member)
        self._ours.add(member.path)

    # -- the kinds --------------------------------------------------------------------------

    def _file(self, fd: int, name: str, member: Entry, reader: TarReader) -> None:
        mode = member.mode
        try:
            file = os.open(name, _NEW_FILE, mode & 0o777, dir_fd=fd)
        except FileExistsError:
            self._make_way(fd, name, member.path)
            file = os.open(name, _NEW_FILE, mode & 0o777, dir_fd=fd)
        try:
            left = member.size
            while left:
                data = reader.read(CHUNK)
                left -= len(data)
                if os.write(file, data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # The order matters: chown clears setuid and file capabilities, writing clears both.
            if member.uid != self._uid or member.gid != self._gid:
                os.fchown(file, member.uid, member.gid)
            if mode & self._chmod_bits:
                os.fchmod(file, mode)
            if member.xattrs:
                self._refused(xattrs.write(file, member.xattrs))
            os.utime(file, ns=(member.mtime, member.mtime))
        finally:
            os.close(file)

    def _directory(self, fd: int, name: str, member: Entry) -> None:
        hidden = False
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            found = os.lstat(name, dir_fd=fd)
            if not stat.S_ISDIR(found.st_mode):
                hidden = self._make_way(fd, name, member.path)
                os.mkdir(name, 0o700, dir_fd=fd)
        below = self._root.directory(member.path)
        if hidden:
            self._whiteouts.opaque(below, member.path, self._ours)
        self._directory_attributes(below, member)

    def _directory_attributes(self, fd: int, member: Entry) -> None:
        os.fchown(fd, member.uid, member.gid)
        os.fchmod(fd, member.mode)
        if member.xattrs:
            self._refused(xattrs.write(fd, member.xattrs))
        self._times[member.path] = member.mtime

    def _hard_link(self, fd: int, name: str, member: Entry) -> None:
        if member.link == member.path:
            raise LayerError("a hard link to itself", where=member.path)
        if member.link not in self._ours:
            self._bring_up(member)
        directory, target = split(member.link)
        # Two descriptors of the same cache: the second look-up may close the first.
        source = os.dup(self._root.directory(directory))
        try:
            fd = self._parent(split(member.path)[0])
            self._retry(
                fd,
                name,
                member,
                lambda: os.link(
                    target, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False
                ),
            )
        finally:
            os.close(source)

    def _bring_up(self, member: Entry) -> None:
        """See to it that a link's target, which a layer below has, is in this tree."""
        directory, target = split(member.link)
        fd = self._parent(directory)
        try:
            os.lstat(target, dir_fd=fd)
        except FileNotFoundError:
            if not copy_up(self._lower, member.link, fd, target):
                raise LayerError(
                    f"a hard link to {member.link!r}, which is not there", where=member.path
                ) from None

    def _special(self, fd: int, name: str, member: Entry) -> None:
        kind = {kinds.CHAR: stat.S_IFCHR, kinds.BLOCK: stat.S_IFBLK, kinds.FIFO: stat.S_IFIFO}
        device = os.makedev(*member.device)
        if member.kind == kinds.CHAR and device == 0:
            # It would read as a whiteout; only `.wh.` names are whiteouts in a layer.
            raise LayerError("a character device 0:0 is not allowed", where=member.path)
        mode = kind[member.kind] | (member.mode & 0o777)
        try:
            self._retry(fd, name, member, lambda: os.mknod(name, mode, device, dir_fd=fd))
        except PermissionError:
            # Without privileges there are no device nodes; containers get their own /dev.
            self._note("device nodes were left out: this user may not make them")
            return
        self._unopened_attributes(fd, name, member)

    def _unopened_attributes(self, fd: int, name: str, member: Entry) -> None:
        """Set the attributes of what must not be opened: links, devices, FIFOs."""
        if member.uid != self._uid or member.gid != self._gid:
            os.chown(name, member.uid, member.gid, dir_fd=fd, follow_symlinks=False)
        if member.mode & self._chmod_bits and member.kind != kinds.SYMLINK:
            os.chmod(name, member.mode, dir_fd=fd)
        if member.xattrs:
            self._refused(xattrs.write(f"/proc/self/fd/{fd}/{name}", member.xattrs))
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=fd, follow_symlinks=False)

    # -- what is in the way, and what is missing --------------------------------------------

    def _whiteout(self, member: Entry, parent: str, name: str) -> None:
        fd = self._parent(parent)
        if name == OPAQUE:
            self._whiteouts.opaque(fd, parent, self._ours)
        elif name == WHITEOUT:
            raise LayerError("a whiteout without a name", where=member.path)
        elif not name.startswith(AUFS):
            target = name.removeprefix(WHITEOUT)
            path = f"{parent}/{target}" if parent else target
            self._whiteouts.whiteout(fd, target, path, self._ours)
            if path not in self._ours:
                self._root.forget(path)

    def _retry(self, fd: int, name: str, member: Entry, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._make_way(fd, name, member.path)
            make()

    def _make_way(self, fd: int, name: str, path: str) -> bool:
        """Remove what *name* is now; True if what is below the layer must stay hidden."""
        if self._whiteouts.uncover(fd, name):
            return True
        was_directory = stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode)
        remove_tree(name, dir_fd=fd)
        self._ours.discard(path)
        if not was_directory:
            return False
        self._root.forget(path)
        below = path + "/"
        self._ours -= {known for known in self._ours if known.startswith(below)}
        for known in [key for key in self._times if key == path or key.startswith(below)]:
            del self._times[known]
        return False

    def _parent(self, path: str) -> int:
        try:
            fd = self._root.directory(path)
        except FileNotFoundError:
            self._missing(path)
            fd = self._root.directory(path)
        if path not in self._times:  # it was there before: adding to it must not touch its time
            self._times[path] = os.fstat(fd).st_mtime_ns
        return fd

    def _missing(self, path: str) -> None:
        """Make a directory that the layer uses without having it (layer.md leaves it open)."""
        parent, name = split(path)
        fd = self._parent(parent)
        hidden = False
        try:
            os.mkdir(name, 0o755, dir_fd=fd)
        except FileExistsError:  # whited out earlier in this layer
            hidden = self._make_way(fd, name, path)
            os.mkdir(name, 0o755, dir_fd=fd)
        below = self._root.directory(path)
        if hidden:
            self._whiteouts.opaque(below, path, self._ours)
        else:
            inherit(self._lower, path, below)
        self._times[path] = os.fstat(below).st_mtime_ns

    def _finish_directories(self) -> None:
        for path, mtime in self._times.items():
            os.utime(self._root.directory(path), ns=(mtime, mtime))

    # -- what was refused -------------------------------------------------------------------

    def _refused(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._note(f"the attribute {name} was left out: the file system does not take it")

    def _note(self, text: str) -> None:
        self._notes[text] = self._notes.get(text, 0) + 1


def _translated(error: OSError, member: Entry) -> Exception:
    if error.errno in (errno.EINVAL, errno.EPERM) and (member.uid or member.gid):
        return LayerError(
            f"its owner {member.uid}:{member.gid} is not among the ids you may use",
            where=member.path,
            hint="give this user a range of 65536 ids in /etc/subuid and /etc/subgid",
        )
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL):
        return LayerError(f"cannot be unpacked: {error.strerror}", where=member.path)
    return error
