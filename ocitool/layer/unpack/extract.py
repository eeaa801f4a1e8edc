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
from ocitool.layer.beneath import Root
from ocitool.layer.entry import (
    AUFS,
    DEFAULT_LIMITS,
    NO_WHITEOUTS,
    OPAQUE,
    WHITEOUT,
    Entry,
    Limits,
    split,
)
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.unpack.lower import copy_up
from ocitool.layer.unpack.metadata import Attributes
from ocitool.layer.unpack.target import Places
from ocitool.layer.whiteouts import Whiteouts, is_whiteout
from ocitool.oci.content import Stream

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
        places = Places(tree, root, whiteouts, lower)
        return _Applier(root, places, whiteouts).run(TarReader(stream, limits))


class _Applier:
    def __init__(self, root: Root, places: Places, whiteouts: Whiteouts) -> None:
        self._root = root
        self._places = places
        self._whiteouts = whiteouts
        self._attributes = Attributes()
        self._left_out: set[str] = set()

    def run(self, reader: TarReader) -> Applied:
        count = size = 0
        for member in reader:
            count += 1
            size += member.size
            parent, name = split(member.path)
            try:
                if name.startswith(WHITEOUT):
                    self._whiteout(member, parent, name)
                elif not parent.startswith(AUFS) and f"/{AUFS}" not in parent:
                    self._member(member, parent, name, reader)
            except OSError as error:
                raise _translated(error, member) from error
            except LayerError as error:
                error.where = error.where or member.path
                raise
        reader.drain()
        self._places.finish()
        notes = tuple(f"{note} ({n} entries)" for note, n in self._attributes.notes.items())
        return Applied(entries=count, size=size, notes=notes)

    def _member(self, member: Entry, parent: str, name: str, reader: TarReader) -> None:
        if not name:
            self._directory_attributes(self._root.fd, member, merged=True)
            return
        parent, fd = self._places.enter(parent)
        path = f"{parent}/{name}" if parent else name
        if path != member.path:  # it was named through a link
            member = member._replace(path=path)
        self._left_out.discard(path)
        if member.kind == kinds.FILE:
            self._file(fd, name, member, reader)
        elif member.kind == kinds.DIRECTORY:
            self._directory(fd, name, member)
        elif member.kind == kinds.HARDLINK:
            self._hard_link(name, member)
        elif member.kind == kinds.SYMLINK:
            self._make(fd, name, member, lambda: os.symlink(member.link, name, dir_fd=fd))
            self._attributes.set_node(fd, name, member)
        else:
            self._special(fd, name, member)
        if path not in self._left_out:
            self._places.claim(path)

    def _whiteout(self, member: Entry, parent: str, name: str) -> None:
        if name == OPAQUE:
            self._places.hide_all(parent)
        elif name in NO_WHITEOUTS:
            raise LayerError("a whiteout without a name", where=member.path)
        elif not name.startswith(AUFS) and self._places.shown(parent):
            self._places.hide(parent, name.removeprefix(WHITEOUT))

    # -- the kinds --------------------------------------------------------------------------

    def _file(self, fd: int, name: str, member: Entry, reader: TarReader) -> None:
        mode = member.mode & 0o777
        try:
            file = os.open(name, _NEW_FILE, mode, dir_fd=fd)
        except FileExistsError:
            self._places.make_way(fd, name, member.path)
            file = os.open(name, _NEW_FILE, mode, dir_fd=fd)
        try:
            for at, data in reader.runs():
                if os.pwrite(file, data, at) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if reader.sparse is not None:
                os.ftruncate(file, member.size)
            self._attributes.set_file(file, member)
        finally:
            os.close(file)

    def _directory(self, fd: int, name: str, member: Entry) -> None:
        hidden = merged = False
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            merged = stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode)
            if not merged:
                hidden = self._places.make_way(fd, name, member.path)
                os.mkdir(name, 0o700, dir_fd=fd)
        below = self._root.directory(member.path)
        if hidden:
            self._whiteouts.opaque(below, member.path, self._places.ours)
        self._directory_attributes(below, member, merged=merged)

    def _directory_attributes(self, fd: int, member: Entry, *, merged: bool) -> None:
        self._attributes.set_directory(fd, member, merged=merged)
        self._places.keep(member.path, fd, member.mtime)

    def _hard_link(self, name: str, member: Entry) -> None:
        directory, target = split(member.link)
        directory, source = self._places.enter(directory)
        link = f"{directory}/{target}" if directory else target
        if link == member.path:
            raise LayerError("a hard link to itself", where=member.path)
        if link in self._left_out:
            self._leave_out(member)
            return
        source = os.dup(source)  # the look-up of the link's own directory may close it
        try:
            self._bring_up(source, target, link, member)
            fd = self._places.enter(split(member.path)[0])[1]
            self._make(
                fd,
                name,
                member,
                lambda: os.link(
                    target, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False
                ),
            )
            self._attributes.owners.linked(name, fd, target, source)
        finally:
            os.close(source)

    def _bring_up(self, fd: int, name: str, link: str, member: Entry) -> None:
        """See to it that a link's target, which a layer below may have, is in this tree."""
        try:
            state = os.lstat(name, dir_fd=fd)
        except FileNotFoundError:
            if not copy_up(self._places.stack, link, fd, name):
                raise _no_target(member) from None
            return
        if stat.S_ISDIR(state.st_mode) or is_whiteout(state):
            raise _no_target(member)

    def _special(self, fd: int, name: str, member: Entry) -> None:
        kind = {kinds.CHAR: stat.S_IFCHR, kinds.BLOCK: stat.S_IFBLK, kinds.FIFO: stat.S_IFIFO}
        device = os.makedev(*member.device)
        if member.kind == kinds.CHAR and device == 0:
            # It would read as a whiteout; only `.wh.` names are whiteouts in a layer.
            raise LayerError("a character device 0:0 is not allowed", where=member.path)
        mode = kind[member.kind] | (member.mode & 0o777)
        try:
            make = self._attributes.owners.make_device
            self._make(fd, name, member, lambda: make(name, mode, device, fd))
        except PermissionError:
            if member.kind == kinds.FIFO:
                raise
            self._leave_out(member)
            return
        self._attributes.set_node(fd, name, member)

    def _leave_out(self, member: Entry) -> None:
        # Without privileges there are no device nodes; containers get their own /dev.
        self._attributes.note("device nodes were left out: this user may not make them")
        self._left_out.add(member.path)

    def _make(self, fd: int, name: str, member: Entry, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._places.make_way(fd, name, member.path)
            make()


def _no_target(member: Entry) -> LayerError:
    return LayerError(
        f"a hard link to {member.link!r}, which is no file of this layer or those below",
        where=member.path,
    )


_LISTS: Final = "system.posix_acl_"  # acl(5)
_DAMAGED: Final = frozenset(
    {
        errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EMLINK,
        errno.EISDIR, errno.E2BIG, errno.ERANGE, errno.EFBIG,
    }
)  # fmt: skip


def _translated(error: OSError, member: Entry) -> Exception:
    if error.errno == errno.EINVAL and any(name.startswith(_LISTS) for name in member.xattrs):
        return LayerError(
            "its access list names ids that are not among those you may use",
            where=member.path,
            hint="give this user a range of 65536 ids in /etc/subuid and /etc/subgid",
        )
    if error.errno in (errno.EINVAL, errno.EPERM) and (member.uid or member.gid):
        return LayerError(
            f"its owner {member.uid}:{member.gid} is not among the ids you may use",
            where=member.path,
            hint="give this user a range of 65536 ids in /etc/subuid and /etc/subgid",
        )
    if error.errno in _DAMAGED:
        return LayerError(f"cannot be unpacked: {error.strerror}", where=member.path)
    return error
