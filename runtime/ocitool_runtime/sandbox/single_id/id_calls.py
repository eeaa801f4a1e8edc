"""The calls that read and change IDs, in single-ID mode (`credentials`).

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import os
import struct

from ocitool_runtime.sandbox.notify.seccomp_notify import I386, Call, LeftToKernel
from ocitool_runtime.sandbox.single_id.calls import IDS
from ocitool_runtime.sandbox.single_id.credentials import CHANGES, Credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocitool_runtime.sandbox.single_id.credential_table import CredentialTable

_CAP_SETGID, _CAP_SETUID = 6, 7
_UNLIMITED = b"\xff" * 16  # a struct rlimit
_MOST_GROUPS = 65536  # NGROUPS_MAX
#: What these return: whether a user's or a group's, and which of the four.
_READ = {"getuid": (True, 0), "geteuid": (True, 1), "getgid": (False, 0), "getegid": (False, 1)}


class IdCalls:
    """Answers them as the kernel would if it had the IDs."""

    def __init__(self, table: CredentialTable, capabilities: int) -> None:
        """*capabilities* is the mask of those that root has in this container."""
        self._table = table
        self._may_users = bool(capabilities >> _CAP_SETUID & 1)
        self._may_groups = bool(capabilities >> _CAP_SETGID & 1)

    def handlers(self) -> dict[str, Callable[[Call], None]]:
        """Return what answers each call."""
        kinds: dict[str, Callable[[Call, str], None]] = dict.fromkeys(IDS, self._change)
        kinds |= dict.fromkeys(_READ, self._read)
        kinds |= dict.fromkeys(("getresuid", "getresgid"), self._read_three)
        kinds |= {"getgroups": self._read_groups, "setgroups": self._change_groups}

        def bound(name: str) -> Callable[[Call], None]:
            kind = kinds[name]
            return lambda call: kind(call, name)

        limits = {"prlimit64": self._limit, "getrlimit": self._get_limit}
        found = {name: bound(name) for name in IDS} | limits
        found |= {"prctl": self._keep, "capset": self._make_effective}
        return found | {"setrlimit": lambda call: call.answer()}

    def _read(self, call: Call, name: str) -> None:
        users, which = _READ[name]
        has = self._table.of(call.pid)
        call.answer(value=(has.uids if users else has.gids)[which])

    def _read_three(self, call: Call, name: str) -> None:
        has = self._table.of(call.pid)
        for address, value in zip(call.arguments, _ids(has, name)[:3], strict=False):
            call.write(address, struct.pack("=I", value))
        call.answer()

    def _read_groups(self, call: Call, name: str) -> None:
        groups = self._table.of(call.pid).groups
        room = call.arguments[0] & 0xFFFFFFFF
        if room:
            if room < len(groups) or room >> 31:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            call.write(call.arguments[1], struct.pack(f"={len(groups)}I", *groups))
        call.answer(value=len(groups))

    def _change(self, call: Call, name: str) -> None:
        has, users = self._table.of(call.pid), name.endswith("uid")
        before = _ids(has, name)
        arguments = [each & 0xFFFFFFFF for each in call.arguments]
        may = has.privileged() and (self._may_users if users else self._may_groups)
        after = CHANGES[name](before, arguments, may)
        if after != before:
            call.check()
            self._table.give(call.pid, has.with_uids(after) if users else has.with_gids(after))
        call.answer(value=before[3] if name.startswith("setfs") else 0)

    def _change_groups(self, call: Call, name: str) -> None:
        has = self._table.of(call.pid)
        count = call.arguments[0] & 0xFFFFFFFF
        if not (has.privileged() and self._may_groups):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        if count > _MOST_GROUPS:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        data = call.memory(call.arguments[1], 4 * count) if count else b""
        call.check()
        groups = sorted(struct.unpack(f"={count}I", data))
        self._table.give(call.pid, has.with_groups(tuple(groups)))
        call.answer()

    def _keep(self, call: Call) -> None:
        call.check()
        kept = bool(call.arguments[1])
        self._table.give(call.pid, self._table.of(call.pid).keeping(kept))
        call.answer()

    def _make_effective(self, call: Call) -> None:
        has = self._table.of(call.pid)
        (effective,) = struct.unpack("=I", call.memory(call.arguments[1], 4))
        after = has.with_effective(bool(effective & (1 << _CAP_SETUID | 1 << _CAP_SETGID)))
        if after.key() != has.key():
            self._table.give(call.pid, after)
        raise LeftToKernel  # which has the same, as it knows nothing of the change

    def _limit(self, call: Call) -> None:
        """Show no limit, and set none: the kernel's is that of the table."""
        if call.arguments[3]:
            call.write(call.arguments[3], _UNLIMITED)
        call.answer()

    def _get_limit(self, call: Call) -> None:
        size = 8 if call.machine == I386 else 16
        call.write(call.arguments[1], _UNLIMITED[:size])
        call.answer()


def _ids(credentials: Credentials, name: str) -> tuple[int, int, int, int]:
    return credentials.uids if name.endswith("uid") else credentials.gids
