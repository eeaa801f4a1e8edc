"""Owners of the files of a tree: as the kernel keeps them, or in ownership override xattrs.

In a user namespace of a single id (single-ID rootless mode) the kernel knows no other owner and
makes no devices.  What a layer says is then kept in xattrs, and read back with the tree:

- ``user.ocitool.owner`` of a file or directory: ``UID:GID``; of an empty file that stands for a
  device ``UID:GID:c:MAJOR:MINOR``, or ``b``.
- ``user.ocitool.children`` of a directory, for its links and pipes, which take no attributes of
  users: groups of UID, GID, COUNT (32 bits each, little endian) and COUNT checksums of 32 bits,
  each the CRC-32 of a name, a NUL, and the entry's time in nanoseconds as digits.  So a link that
  was made anew under an old name has no owner there, and what overlayfs copies stays true.

What has neither belongs to 0:0.

Without a user namespace there is no capability either by which root opens what its mode does not
allow.  Then regular files and directories are always open to the user who keeps the tree.  Where a
layer's mode would not allow that, it is in the attribute ``user.ocitool.mode``, in octal.

Source: user_namespaces(7), xattr(7); docs/store-format.md.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import zlib
from typing import Final, Protocol

from ocitool.errors import LayerError
from ocitool.layer.entry import Entry, Kind, encode

OWNER: Final = "user.ocitool.owner"
CHILDREN: Final = "user.ocitool.children"
MODE: Final = "user.ocitool.mode"
_OCTAL: Final = re.compile(rb"[0-7]{1,4}")
_RECORD: Final = re.compile(rb"(\d{1,10}):(\d{1,10})(?::([bc]):(\d{1,4}):(\d{1,7}))?")
_GROUP: Final = struct.Struct("<III")  # uid, gid, how many checksums follow
_CHECKSUM: Final = struct.Struct("<I")
_LARGEST_ID: Final = (1 << 32) - 2
_NONE: Final = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.EACCES})
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.E2BIG, errno.ERANGE})
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICES: Final = {b"c": stat.S_IFCHR, b"b": stat.S_IFBLK}
#: What a state has beside the ten members of a tuple.
_TIMES: Final = (
    "st_atime", "st_mtime", "st_ctime", "st_atime_ns", "st_mtime_ns", "st_ctime_ns",
)  # fmt: skip
_Owner = tuple[int, int]


class Ownership(Protocol):
    """Sets and reads the owners of files."""

    #: The owner of a new file for which none is set; () if it has to be set for every file.
    default: tuple[int, ...]
    #: The bits that the mode of a file or directory in the tree always has.
    access: int

    def set_mode(self, fd: int, mode: int) -> None:
        """Set the mode of an open file or directory."""

    def mode(self, host_path: str | int, state: os.stat_result) -> int:
        """Return the mode (07777) that *host_path* has for the layer."""

    def open_tree(self, tree: str) -> None:
        """Make all of *tree* accessible to this process, which keeps its modes."""

    def give(self, fd: int, uid: int, gid: int) -> None:
        """Make *uid*:*gid* the owner of an open file or directory."""

    def give_node(self, name: str, entry: Entry, dir_fd: int | None = None) -> None:
        """Make that of *entry* the owner of *name*, which is not opened: a link, a device."""

    def make_device(self, name: str, mode: int, device: int, dir_fd: int) -> None:
        """Make what mknod(2) makes; its owner is set by `give_node`."""

    def linked(self, name: str, dir_fd: int, other: str, other_fd: int) -> bool:
        """Note that *name* is another name of *other*; True if its owner is recorded by name."""

    def date(self, host_path: str, entry: Entry) -> None:
        """Give the file *host_path* the time of *entry*, which describes it."""

    def copy(self, source: str, target: str, state: os.stat_result) -> None:
        """Give *target*, a copy of *source* whose state is *state*, the owner of that."""

    def effective(self, host_path: str | int, state: os.stat_result) -> os.stat_result:
        """Return *state* of *host_path* with the owner and the type that the layer gave it."""


class KernelOwnership:
    """Owners as the kernel keeps them."""

    access = 0

    def __init__(self) -> None:
        self.default: tuple[int, ...] = (os.geteuid(), os.getegid())

    give = staticmethod(os.fchown)
    set_mode = staticmethod(os.fchmod)

    def mode(self, host_path: str | int, state: os.stat_result) -> int:
        return stat.S_IMODE(state.st_mode)

    def open_tree(self, tree: str) -> None:
        return None

    def give_node(self, name: str, entry: Entry, dir_fd: int | None = None) -> None:
        os.chown(name, entry.uid, entry.gid, dir_fd=dir_fd, follow_symlinks=False)

    def make_device(self, name: str, mode: int, device: int, dir_fd: int) -> None:
        os.mknod(name, mode, device, dir_fd=dir_fd)

    def linked(self, name: str, dir_fd: int, other: str, other_fd: int) -> bool:
        return False

    def date(self, host_path: str, entry: Entry) -> None:
        os.utime(host_path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)

    def copy(self, source: str, target: str, state: os.stat_result) -> None:
        os.chown(target, state.st_uid, state.st_gid, follow_symlinks=False)

    def effective(self, host_path: str | int, state: os.stat_result) -> os.stat_result:
        return state


class XattrOwnership:
    """Owners in ownership override xattrs, for single-ID rootless mode."""

    default: tuple[int, ...] = ()
    access = 0
    set_mode = staticmethod(os.fchmod)

    def mode(self, host_path: str | int, state: os.stat_result) -> int:
        mode = stat.S_IMODE(state.st_mode)
        record = _get(host_path, MODE) if _access(state.st_mode) else b""
        if _OCTAL.fullmatch(record) is None:
            return mode
        kept = int(record, 8)
        return kept if kept | _access(state.st_mode) == mode else mode

    def open_tree(self, tree: str) -> None:
        return None

    def give(self, fd: int, uid: int, gid: int) -> None:
        os.setxattr(fd, OWNER, b"%d:%d" % (uid, gid))

    def give_node(self, name: str, entry: Entry, dir_fd: int | None = None) -> None:
        if entry.kind in (Kind.CHAR, Kind.BLOCK):
            host_path = name if dir_fd is None else f"/proc/self/fd/{dir_fd}/{name}"
            values = (entry.uid, entry.gid, entry.kind[0].encode(), *entry.device)
            os.setxattr(host_path, OWNER, b"%d:%d:%s:%d:%d" % values, follow_symlinks=False)
            return
        # The time as this file system keeps it, which may be a coarser one.
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=dir_fd, follow_symlinks=False)
        mtime = os.lstat(name, dir_fd=dir_fd).st_mtime_ns
        if dir_fd is None:
            directory, name = os.path.split(name)
            _note_child(directory, name, mtime, (entry.uid, entry.gid))
        else:
            _note_child(dir_fd, name, mtime, (entry.uid, entry.gid))

    def make_device(self, name: str, mode: int, device: int, dir_fd: int) -> None:
        if stat.S_ISFIFO(mode):
            os.mknod(name, mode, device, dir_fd=dir_fd)
        else:
            os.close(os.open(name, _NEW, stat.S_IMODE(mode), dir_fd=dir_fd))

    def linked(self, name: str, dir_fd: int, other: str, other_fd: int) -> bool:
        state = os.lstat(other, dir_fd=other_fd)
        if not _is_child(state.st_mode):
            return False
        owner = _child_owner(other_fd, other, state.st_mtime_ns)
        _note_child(dir_fd, name, state.st_mtime_ns, owner)
        return True

    def date(self, host_path: str, entry: Entry) -> None:
        if _is_child(os.lstat(host_path).st_mode):
            self.give_node(host_path, entry)  # it is known by its time
        else:
            os.utime(host_path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)

    def copy(self, source: str, target: str, state: os.stat_result) -> None:
        if not _is_child(state.st_mode):
            copy_records(source, target)

    def effective(self, host_path: str | int, state: os.stat_result) -> os.stat_result:
        mode, device = stat.S_IFMT(state.st_mode) | self.mode(host_path, state), state.st_rdev
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            owner, kind, device = _parsed(_get(host_path, OWNER))
            if kind and stat.S_ISREG(mode):
                mode = kind | stat.S_IMODE(mode)
        elif _is_child(mode) and isinstance(host_path, str):
            directory, name = os.path.split(host_path)
            owner = _child_owner(directory, name, state.st_mtime_ns)
        else:
            return state  # overlay's whiteouts, sockets
        return _with(state, mode, owner, device)


class UnprivilegedOwnership(XattrOwnership):
    """Owners and modes in extended attributes, for users without a user namespace."""

    access = 0o600

    def set_mode(self, fd: int, mode: int) -> None:
        opened = mode | _access(os.fstat(fd).st_mode)
        os.fchmod(fd, opened)
        if opened != mode:
            os.setxattr(fd, MODE, b"%o" % mode)
        elif _get(fd, MODE):
            os.removexattr(fd, MODE)

    def open_tree(self, tree: str) -> None:
        state = os.lstat(tree)
        opened = state.st_mode | _access(state.st_mode)
        if opened != state.st_mode:
            os.chmod(tree, stat.S_IMODE(opened))
            os.setxattr(tree, MODE, b"%o" % stat.S_IMODE(state.st_mode))
        if stat.S_ISDIR(state.st_mode):
            for name in os.listdir(tree):
                self.open_tree(f"{tree}/{name}")


def _access(mode: int) -> int:
    """Return the bits that let its owner do everything with a file or directory."""
    return 0o700 if stat.S_ISDIR(mode) else 0o600 if stat.S_ISREG(mode) else 0


_chosen: list[Ownership] = []


def current() -> Ownership:
    """Return how this process keeps the owners of the trees that it makes and reads."""
    if not _chosen:
        choose(XattrOwnership() if single_id() else KernelOwnership())
    return _chosen[0]


def choose(ownership: Ownership) -> None:
    """Have this process keep owners as *ownership* does, instead of the way it would choose."""
    _chosen[:] = [ownership]


def single_id() -> bool:
    """Say whether this process is in a user namespace that has one id and no other."""
    try:
        with open("/proc/self/uid_map", "rb") as maps:
            return [line.split()[2] for line in maps] == [b"1"]
    except OSError:
        return False  # a kernel without user namespaces


def copy_records(source: str, target: str) -> None:
    """Copy the ownership override xattrs of a file or directory, if it has any."""
    for name in (OWNER, CHILDREN):
        value = _get(source, name)
        if value:
            os.setxattr(target, name, value, follow_symlinks=False)


def _get(host_path: str | int, name: str) -> bytes:
    try:
        return os.getxattr(host_path, name, follow_symlinks=isinstance(host_path, int))
    except OSError as error:
        if error.errno not in _NONE:
            raise
        return b""


def _parsed(record: bytes) -> tuple[_Owner, int, int]:
    """Return owner, kind (as in st_mode, 0 for no device) and device number of a record.

    Anything else, which a program in a container may have written, stands for no record.
    """
    match = _RECORD.fullmatch(record)
    if match is None:
        return (0, 0), 0, 0
    owner = int(match[1]), int(match[2])
    if max(owner) > _LARGEST_ID:
        return (0, 0), 0, 0
    if match[3] is None:
        return owner, 0, 0
    device = os.makedev(int(match[4]), int(match[5]))
    # 0:0 would read as a whiteout.
    return (owner, _DEVICES[match[3]], device) if device else (owner, 0, 0)


def _with(state: os.stat_result, mode: int, owner: _Owner, device: int) -> os.stat_result:
    first = (mode, state.st_ino, state.st_dev, state.st_nlink, *owner, *state[6:10])
    return os.stat_result(
        first, {"st_rdev": device, **{name: getattr(state, name) for name in _TIMES}}
    )


# -- links and pipes ------------------------------------------------------------------------


def _is_child(mode: int) -> bool:
    return stat.S_ISLNK(mode) or stat.S_ISFIFO(mode)


def _checksum(name: str, mtime: int) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(encode(name) + b"\0%d" % mtime))


def _child_owner(directory: str | int, name: str, mtime: int) -> _Owner:
    checksum = _checksum(name, mtime)
    for owner, checksums in _groups(directory).items():
        if checksum in checksums:
            return owner
    return 0, 0


def _note_child(directory: str | int, name: str, mtime: int, owner: _Owner) -> None:
    checksum = _checksum(name, mtime)
    groups = _groups(directory)
    before = {key: list(checksums) for key, checksums in groups.items()}
    for checksums in groups.values():
        if checksum in checksums:
            checksums.remove(checksum)
    if owner != (0, 0):
        groups.setdefault(owner, []).append(checksum)
    if groups != before:
        _keep(directory, groups, name)


def _groups(directory: str | int) -> dict[_Owner, list[bytes]]:
    try:
        data = os.getxattr(directory, CHILDREN)
    except OSError as error:
        if error.errno not in _NONE:
            raise
        return {}
    found: dict[_Owner, list[bytes]] = {}
    at = 0
    while at + _GROUP.size <= len(data):
        uid, gid, count = _GROUP.unpack_from(data, at)
        at += _GROUP.size
        end = at + count * _CHECKSUM.size
        if end > len(data) or max(uid, gid) > _LARGEST_ID:
            break  # not ours
        found[uid, gid] = [data[i : i + _CHECKSUM.size] for i in range(at, end, _CHECKSUM.size)]
        at = end
    return found


def _keep(directory: str | int, groups: dict[_Owner, list[bytes]], name: str) -> None:
    parts = [
        _GROUP.pack(*owner, len(checksums)) + b"".join(checksums)
        for owner, checksums in groups.items()
        if checksums
    ]
    try:
        os.setxattr(directory, CHILDREN, b"".join(parts))
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise LayerError(
            "its directory has more links with an ownership override than this file system can "
            "store",
            where=name,
            hint="give this user a range of 65536 IDs in /etc/subuid and /etc/subgid, or --root a "
            "directory on XFS or btrfs",
        ) from error
