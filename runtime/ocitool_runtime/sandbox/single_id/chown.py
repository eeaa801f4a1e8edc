"""chown(2) in single-ID mode: owners are recorded in ownership override xattrs (`ownership`).

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import os
import stat

from ocitool_runtime.sandbox.notify.request import Named, named, opened
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.single_id import ownership
from ocitool_runtime.sandbox.single_id.credentials import UNCHANGED, Credentials
from ocitool_runtime.sandbox.single_id.lookup import Lookup, is_child, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocitool_runtime.sandbox.single_id.credential_table import CredentialTable

_CAP_CHOWN = 0
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000


class OwnerCalls:
    """Answers them for files on the mount of the container's root, and leaves others."""

    def __init__(self, lookup: Lookup, table: CredentialTable, capabilities: int) -> None:
        """*capabilities* is the mask of those that root has in this container."""
        self._lookup = lookup
        self._table = table
        self._may = bool(capabilities >> _CAP_CHOWN & 1)

    def handlers(self) -> dict[str, Callable[[Call], None]]:
        """Return what answers each call."""
        return {
            "chown": lambda call: self._chown(call, named(call, at=False), follow=True),
            "lchown": lambda call: self._chown(call, named(call, at=False), follow=False),
            "fchown": lambda call: self._chown(call, opened(call), follow=True),
            "fchownat": self._chown_at,
        }

    def _chown_at(self, call: Call) -> None:
        file = named(call, at=True)
        flags = file.rest[2] & 0xFFFFFFFF
        if flags & ~(_AT_SYMLINK_NOFOLLOW | _AT_EMPTY_PATH):
            raise LeftToKernel
        if not file.path and not flags & _AT_EMPTY_PATH:
            raise LeftToKernel  # ENOENT
        self._chown(call, file, follow=not flags & _AT_SYMLINK_NOFOLLOW)

    def _chown(self, call: Call, file: Named, *, follow: bool) -> None:
        uid, gid = (each & 0xFFFFFFFF for each in file.rest[:2])
        if uid == gid == UNCHANGED:
            raise LeftToKernel
        caller = self._table.of(call.pid)
        fd = self._lookup.find(call, file, follow=follow)
        try:
            state = os.stat(fd)
            if stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode):
                self._require(caller, ownership.owner_of(name_of(fd)), uid, gid)
                # A real chown: the kernel clears setuid and file capabilities, and copies up.
                os.chown(name_of(fd), 0, 0)
                ownership.give(name_of(fd), uid, gid)
            elif is_child(state):
                self._chown_child(call, file, caller, state)
            else:
                raise LeftToKernel
        finally:
            os.close(fd)
        call.answer()

    def _chown_child(
        self, call: Call, file: Named, caller: Credentials, state: os.stat_result
    ) -> None:
        uid, gid = (each & 0xFFFFFFFF for each in file.rest[:2])
        directory, name = self._lookup.find_parent(call, file)
        try:
            if not name or not os.path.samestat(_lstat(name, directory), state):
                raise LeftToKernel  # reached through a link: its own directory is not known
            where, mtime = name_of(directory), state.st_mtime_ns
            self._require(caller, ownership.child_owner(where, name, mtime), uid, gid)
            os.chown(name, 0, 0, dir_fd=directory, follow_symlinks=False)
            mtime = _lstat(name, directory).st_mtime_ns
            ownership.give_child(where, name, mtime, uid, gid)
        finally:
            os.close(directory)

    def _require(self, caller: Credentials, owner: tuple[int, int], uid: int, gid: int) -> None:
        """Raise PermissionError unless *caller* may give the file of *owner* away (chown(2))."""
        if caller.owns_all() and self._may:
            return
        mine = owner[0] == caller.uids[3]
        groups = gid in (UNCHANGED, owner[1]) or caller.in_group(gid)
        if not (mine and groups and uid in (UNCHANGED, owner[0])):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def _lstat(name: bytes, directory: int) -> os.stat_result:
    return os.lstat(name, dir_fd=directory)
