"""execve(2) in single-ID mode: setuid and setgid programs, and what a program begins with.

Runs in: shim.  Imports only the standard library.
Source: execve(2), credentials(7), capabilities(7).
"""

from __future__ import annotations

import os
import stat

from ocitool_runtime.sandbox.notify.request import named, opened
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.single_id import ownership
from ocitool_runtime.sandbox.single_id.credentials import UNCHANGED
from ocitool_runtime.sandbox.single_id.lookup import Lookup, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocitool_runtime.sandbox.single_id.credential_table import CredentialTable

_SETGID = stat.S_ISGID | stat.S_IXGRP


class Programs:
    """Gives a process the IDs of the program that it executes, and leaves the call to the kernel.

    The kernel has no part in these, as for it the file belongs to the only ID.
    """

    def __init__(self, lookup: Lookup, table: CredentialTable, *, setuid: bool) -> None:
        """Without *setuid* the bits of files have no effect (no_new_privs)."""
        self._lookup = lookup
        self._table = table
        self._setuid = setuid

    def handlers(self) -> dict[str, Callable[[Call], None]]:
        """Return what answers each call."""
        return {"execve": self._execute, "execveat": self._execute_at}

    def _execute_at(self, call: Call) -> None:
        self._execute(call, at=True)

    def _execute(self, call: Call, *, at: bool = False) -> None:
        file = named(call, at=at)
        if not file.path:
            file = opened(call)
        has = self._table.of(call.pid)
        program = self._lookup.find(call, file, follow=True)
        try:
            mode = os.stat(program).st_mode
            if not stat.S_ISREG(mode) or not mode & 0o111:
                raise LeftToKernel  # EACCES
            uid = gid = UNCHANGED
            if self._setuid and mode & (stat.S_ISUID | stat.S_ISGID) and _is_elf(program):
                owner = ownership.owner_of(name_of(program))
                uid = owner[0] if mode & stat.S_ISUID else UNCHANGED
                gid = owner[1] if mode & _SETGID == _SETGID else UNCHANGED
        finally:
            os.close(program)
        after = has.executing(uid, gid)
        if after.key() != has.key():
            call.check()
            self._table.give(call.pid, after)
        raise LeftToKernel


def _is_elf(program: int) -> bool:
    """Say whether a program is an ELF file; the set-ID bits of a script have no effect."""
    fd = os.open(name_of(program), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4) == b"\x7fELF"
    finally:
        os.close(fd)
