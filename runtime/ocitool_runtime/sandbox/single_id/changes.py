"""Calls that need a permission, which the kernel gives to all in single-ID mode.

Only callers other than root are judged, and then it is for the kernel to execute the call.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

from ocitool_runtime.sandbox.notify.request import named, opened
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.single_id.credentials import Credentials
from ocitool_runtime.sandbox.single_id.permissions import WRITE, Permissions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocitool_runtime.sandbox.single_id.credential_table import CredentialTable

    Judge = Callable[[Call, Credentials], None]

_AT_EACCESS = 0x200
_AT_SYMLINK_NOFOLLOW = 0x100


class Changes:
    """Judges them by the owners and modes of files."""

    def __init__(self, permissions: Permissions, table: CredentialTable) -> None:
        self._permissions = permissions
        self._table = table

    def handlers(self) -> dict[str, Callable[[Call], None]]:
        """Return what answers each call."""

        def judged(judge: Judge) -> Callable[[Call], None]:
            return lambda call: self._judged(call, judge)

        owner, entry = self._permissions.require_owner, self._permissions.require_entry
        require = self._permissions.require
        return {
            "chmod": judged(lambda call, who: owner(call, who, named(call, at=False))),
            "fchmod": judged(lambda call, who: owner(call, who, opened(call))),
            "fchmodat": judged(lambda call, who: owner(call, who, named(call, at=True))),
            "fchmodat2": judged(lambda call, who: owner(call, who, named(call, at=True))),
            "utimensat": judged(self._date),
            "truncate": judged(lambda call, who: require(call, who, named(call, at=False), WRITE)),
            "unlink": judged(lambda call, who: entry(call, who, named(call, at=False))),
            "rmdir": judged(lambda call, who: entry(call, who, named(call, at=False))),
            "unlinkat": judged(lambda call, who: entry(call, who, named(call, at=True))),
            "access": lambda call: self._access(call, at=False, flags=0),
            "faccessat": lambda call: self._access(call, at=True, flags=0),
            "faccessat2": lambda call: self._access(call, at=True, flags=call.arguments[3]),
        }

    def _judged(self, call: Call, judge: Judge) -> None:
        caller = self._table.of(call.pid)
        if not caller.owns_all():
            judge(call, caller)
        raise LeftToKernel

    def _date(self, call: Call, caller: Credentials) -> None:
        if not call.arguments[1]:  # of a descriptor
            return
        file = named(call, at=True)
        follow = not call.arguments[3] & _AT_SYMLINK_NOFOLLOW
        try:
            self._permissions.require_owner(call, caller, file, follow=follow)
        except PermissionError:
            if call.arguments[2]:
                raise
            self._permissions.require(call, caller, file, WRITE, follow=follow)  # to now

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
        follow = not flags & _AT_SYMLINK_NOFOLLOW
        self._permissions.require(call, caller, file, file.rest[0] & 7, follow=follow)
        call.answer()
