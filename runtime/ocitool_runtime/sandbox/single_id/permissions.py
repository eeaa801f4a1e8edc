"""What a process may do with a file by the file's mode and owner, as the kernel judges it.

Runs in: shim.  Imports the standard library alone.
Source: fs/namei.c, generic_permission; path_resolution(7).
"""

from __future__ import annotations

import errno
import os
import stat

from ocitool_runtime.sandbox.notify.request import Named, named
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.single_id import ownership
from ocitool_runtime.sandbox.single_id.credentials import Credentials
from ocitool_runtime.sandbox.single_id.lookup import Lookup, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocitool_runtime.sandbox.single_id.credential_table import CredentialTable

WRITE = 2
_AT_EACCESS = 0x200
_AT_SYMLINK_NOFOLLOW = 0x100


def permits(caller: Credentials, mode: int, uid: int, gid: int, wanted: int) -> bool:
    """Say whether the *mode* of a file of *uid*:*gid* gives *caller* all that is *wanted*.

    That are bits: 4 to read, 2 to write, 1 to execute.
    """
    if caller.owns_all():
        return not wanted & 1 or stat.S_ISDIR(mode) or bool(mode & 0o111)
    if uid == caller.uids[3]:
        mode >>= 6
    elif caller.in_group(gid):
        mode >>= 3
    return mode & wanted == wanted


class AccessCalls:
    """Answers access(2) for callers other than root."""

    def __init__(self, lookup: Lookup, table: CredentialTable) -> None:
        self._lookup = lookup
        self._table = table

    def handlers(self) -> dict[str, Callable[[Call], None]]:
        """Return what answers each call."""
        return {
            "access": lambda call: self._access(call, at=False, flags=0),
            "faccessat": lambda call: self._access(call, at=True, flags=0),
            "faccessat2": lambda call: self._access(call, at=True, flags=call.arguments[3]),
        }

    def _access(self, call: Call, *, at: bool, flags: int) -> None:
        caller = self._table.of(call.pid)
        if not flags & _AT_EACCESS:  # the real IDs count
            uid, gid = caller.uids[0], caller.gids[0]
            caller = Credentials.of_user(uid, gid, caller.groups)
        if caller.owns_all():
            raise LeftToKernel
        file = named(call, at=at)
        if not file.path:
            raise LeftToKernel
        self._judge(call, file, caller, follow=not flags & _AT_SYMLINK_NOFOLLOW)

    def _judge(self, call: Call, file: Named, caller: Credentials, *, follow: bool) -> None:
        found = self._lookup.find(call, file, follow=follow)
        try:
            state = os.stat(found)
            if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
                raise LeftToKernel
            uid, gid = ownership.owner_of(name_of(found))
        finally:
            os.close(found)
        if not permits(caller, state.st_mode, uid, gid, file.rest[0] & 7):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        call.answer()
