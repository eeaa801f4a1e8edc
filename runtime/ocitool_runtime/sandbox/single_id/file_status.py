"""stat(2) in single-ID mode: files belong to whom their ownership override xattr says.

Most files belong to root, and there the kernel's answer is right: one look decides that.

Runs in: shim.  Imports only the standard library.
Source: stat(2), statx(2); include/uapi/linux/stat.h.
"""

from __future__ import annotations

import os
import stat
import struct

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.notify.request import Named, named, opened
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.notify.stat_layouts import stat_answer
from ocitool_runtime.sandbox.single_id import ownership
from ocitool_runtime.sandbox.single_id.lookup import Lookup, is_child, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_OWNER = struct.Struct("=II")  # at 20 in struct statx: stx_uid, stx_gid
_MODE = struct.Struct("=H")  # at 28
_DEVICE = struct.Struct("=II")  # at 128: major, minor
_DEVICES = {b"c": stat.S_IFCHR, b"b": stat.S_IFBLK}


class _Owner:
    """What is recorded of a file: its owner, and the device that it stands for."""

    __slots__ = ("device", "gid", "kind", "uid")

    def __init__(self, fields: list[bytes]) -> None:
        self.uid, self.gid = int(fields[0]), int(fields[1])
        self.kind, self.device = 0, (0, 0)
        if len(fields) == 5 and fields[2] in _DEVICES:
            self.kind = _DEVICES[fields[2]]
            self.device = int(fields[3]), int(fields[4])


class FileStatus:
    """Answers for files on the mount of the container's root, and leaves others."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def handlers(self) -> dict[str, Callable[[Call], None]]:
        """Return what answers each call."""
        return {
            "stat": lambda call: self._stat(call, named(call, at=False), follow=True),
            "lstat": lambda call: self._stat(call, named(call, at=False), follow=False),
            "fstat": lambda call: self._stat(call, opened(call), follow=True),
            "newfstatat": self._stat_at,
            "statx": self._statx,
        }

    def _stat_at(self, call: Call) -> None:
        file = named(call, at=True)
        self._stat(call, file, follow=not self._flags(file, file.rest[1]) & _AT_SYMLINK_NOFOLLOW)

    def _flags(self, file: Named, flags: int) -> int:
        if not file.path and not flags & _AT_EMPTY_PATH:
            raise LeftToKernel  # ENOENT
        return flags

    def _stat(self, call: Call, file: Named, *, follow: bool) -> None:
        if not self._lookup.has_owner(call, file, follow=follow):
            raise LeftToKernel
        found = self._lookup.find(call, file, follow=follow)
        try:
            state = os.stat(found)
            owner = self._owner(call, file, found, state)
        finally:
            os.close(found)
        call.answer_data(file.rest[0], stat_answer(call.machine, _effective(state, owner)))

    def _statx(self, call: Call) -> None:
        file = named(call, at=True)
        flags = self._flags(file, file.rest[0])
        follow = not flags & _AT_SYMLINK_NOFOLLOW
        if not self._lookup.has_owner(call, file, follow=follow):
            raise LeftToKernel
        found = self._lookup.find(call, file, follow=follow)
        try:
            owner = self._owner(call, file, found, os.stat(found))
            mask = file.rest[1] & 0xFFFFFFFF
            answer = bytearray(syscalls.statx(b"self/fd/%d" % found, flags & 0x6000, mask))
        finally:
            os.close(found)
        _OWNER.pack_into(answer, 20, owner.uid, owner.gid)
        if owner.kind:
            (mode,) = _MODE.unpack_from(answer, 28)
            _MODE.pack_into(answer, 28, owner.kind | stat.S_IMODE(mode))
            _DEVICE.pack_into(answer, 128, *owner.device)
        call.answer_data(file.rest[2], bytes(answer))

    def _owner(self, call: Call, file: Named, found: int, state: os.stat_result) -> _Owner:
        """Return what is recorded; `LeftToKernel` for what is left to it."""
        if stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode):
            return _Owner(ownership.fields_of(name_of(found)))
        if not file.path or not is_child(state):
            raise LeftToKernel
        directory, name = self._lookup.find_parent(call, file)
        try:
            if not name or not os.path.samestat(os.lstat(name, dir_fd=directory), state):
                raise LeftToKernel
            uid, gid = ownership.child_owner(name_of(directory), name, state.st_mtime_ns)
        finally:
            os.close(directory)
        return _Owner([b"%d" % uid, b"%d" % gid])


def _effective(state: os.stat_result, owner: _Owner) -> os.stat_result:
    mode, device = state.st_mode, state.st_rdev
    if owner.kind and stat.S_ISREG(mode):
        mode, device = owner.kind | stat.S_IMODE(mode), os.makedev(*owner.device)
    names = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_blksize", "st_blocks")
    kept = {name: getattr(state, name) for name in names}
    first = (mode, state.st_ino, state.st_dev, state.st_nlink, owner.uid, owner.gid, *state[6:10])
    return os.stat_result(first, {**kept, "st_rdev": device})
