"""rename(2) and link(2) in single-ID mode: who may, and links and pipes keep their owners.

Owners of those are recorded in their directory, by name (`ownership`); the record for the new name
is written before the kernel makes it.  One that comes to nothing stands for no file.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import os

from ocitool_runtime.sandbox.notify.request import Named, named
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.single_id import ownership
from ocitool_runtime.sandbox.single_id.lookup import Lookup, is_child, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocitool_runtime.sandbox.single_id.credential_table import CredentialTable
    from ocitool_runtime.sandbox.single_id.permissions import Permissions


class Moves:
    """Judges them, writes the record, and leaves the call to the kernel."""

    def __init__(self, lookup: Lookup, permissions: Permissions, table: CredentialTable) -> None:
        self._lookup = lookup
        self._permissions = permissions
        self._table = table

    def handlers(self) -> dict[str, Callable[[Call], None]]:
        """Return what answers each call."""
        return {
            "rename": lambda call: self._move(call, removes=True),
            "link": lambda call: self._move(call, removes=False),
            "renameat": lambda call: self._move_at(call, removes=True),
            "renameat2": lambda call: self._move_at(call, removes=True),
            "linkat": lambda call: self._move_at(call, removes=False),
        }

    def _move(self, call: Call, *, removes: bool) -> None:
        old = named(call, at=False)
        self._judge(call, old, lambda: named(call, at=False, skip=1), removes=removes)

    def _move_at(self, call: Call, *, removes: bool) -> None:
        old = named(call, at=True)
        self._judge(call, old, lambda: named(call, at=True, skip=2), removes=removes)

    def _judge(self, call: Call, old: Named, new: Callable[[], Named], *, removes: bool) -> None:
        caller = self._table.of(call.pid)
        if not caller.owns_all():
            if removes:
                self._permissions.require_entry(call, caller, old)
            self._permissions.require_entry(call, caller, new())
        self._record(call, old, new)

    def _record(self, call: Call, old: Named, new: Callable[[], Named]) -> None:
        if not self._lookup.may_be_child(call, old):
            raise LeftToKernel
        directory, name = self._lookup.find_parent(call, old)
        try:
            state = os.lstat(name, dir_fd=directory)
            mtime = state.st_mtime_ns
            owner = ownership.child_owner(name_of(directory), name, mtime)
        except OSError:
            raise LeftToKernel from None
        finally:
            os.close(directory)
        if not is_child(state) or owner == (0, 0):
            raise LeftToKernel
        directory, name = self._lookup.find_parent(call, new())
        try:
            ownership.give_child(name_of(directory), name, mtime, *owner)
        finally:
            os.close(directory)
        raise LeftToKernel
