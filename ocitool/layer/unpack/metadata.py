"""Owner, mode, times and extended attributes of what a layer unpacks to."""

from __future__ import annotations

import os
import stat
from typing import Final

from ocitool.layer import ownership, xattrs
from ocitool.layer.entry import Entry, Kind

_SPECIAL_BITS: Final = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


class Attributes:
    """Sets the metadata of entries, in the order that the kernel requires.

    chown clears setuid and file capabilities, and writing clears both: so content comes first,
    then the owner, the mode, the attributes, and the time last.  ``notes`` counts what the machine
    refused and was left out.
    """

    def __init__(self) -> None:
        self.notes: dict[str, int] = {}
        # Bits that open(2) does not set.  The umask is read, not set: it belongs to the
        # whole process, and other threads make files, too.
        self._chmod_bits = _SPECIAL_BITS | current_umask()
        self.owners = ownership.current()
        self._uid, self._gid = self.owners.default or (-1, -1)
        #: Whether new files get the group of their directory, which has the setgid bit: inode(7).
        self.inherits_group = False

    def creation_mode(self, entry: Entry) -> int:
        """Return the mode with which open(2) makes the file of *entry*."""
        return (entry.mode | self.owners.access) & 0o777

    def set_file(self, fd: int, entry: Entry) -> None:
        """Set them on a new file, which has `creation_mode`."""
        if self.inherits_group or entry.uid != self._uid or entry.gid != self._gid:
            self.owners.give(fd, entry.uid, entry.gid)
        if entry.mode & self._chmod_bits or self.owners.access & ~entry.mode:
            self.owners.set_mode(fd, entry.mode)
        if entry.xattrs:
            self._refused(xattrs.write(fd, entry.xattrs))
        os.utime(fd, ns=(entry.mtime, entry.mtime))

    def set_directory(self, fd: int, entry: Entry, *, merged: bool) -> None:
        """Set them on a directory, all but its time; *merged* if it was there before."""
        self.owners.give(fd, entry.uid, entry.gid)
        self.owners.set_mode(fd, entry.mode)
        if merged:  # a layer's directory has its own attributes, none of those before
            for name in xattrs.read(fd).keys() - entry.xattrs.keys():
                os.removexattr(fd, name)
        if entry.xattrs:
            self._refused(xattrs.write(fd, entry.xattrs))

    def set_node(self, fd: int, name: str, entry: Entry) -> None:
        """Set them on *name* in the directory *fd*, which must not be opened: a link, a device."""
        if self.inherits_group or entry.uid != self._uid or entry.gid != self._gid:
            self.owners.give_node(name, entry, fd)
        if entry.mode & self._chmod_bits and entry.kind != Kind.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=fd)
        if entry.xattrs:
            self._refused(xattrs.write(f"/proc/self/fd/{fd}/{name}", entry.xattrs))
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)

    def change(self, fd: int, name: str, entry: Entry) -> None:
        """Set them on the file *name* in the directory *fd*, which has others."""
        host_path = f"/proc/self/fd/{fd}/{name}"
        if entry.kind == Kind.FILE:
            with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd), "rb") as file:
                self.owners.give(file.fileno(), entry.uid, entry.gid)
                self.owners.set_mode(file.fileno(), entry.mode)
        else:
            self.owners.give_node(name, entry, fd)
            if entry.kind != Kind.SYMLINK:
                os.chmod(name, entry.mode, dir_fd=fd)
        self._refused(xattrs.write(host_path, entry.xattrs))
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=fd, follow_symlinks=False)

    def note(self, text: str) -> None:
        """Count one thing that was left out."""
        self.notes[text] = self.notes.get(text, 0) + 1

    def _refused(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.note(f"the attribute {name} was left out: the file system does not take it")


def current_umask() -> int:
    """Return the process's umask without setting it, which would be seen by other threads."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o777  # unknown: set every mode
