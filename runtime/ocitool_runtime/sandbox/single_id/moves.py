"""rename(2) and link(2) in single-ID mode: links and pipes keep their owners.

Those are recorded in their directory, by name (`ownership`); the record for the new name is written
before the kernel makes it.  One that comes to nothing stands for no file.

Runs in: shim.  Imports the standard library alone.
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


class Moves:
    """Writes the record, and leaves the call to the kernel."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def handlers(self) -> dict[str, Callable[[Call], None]]:
        """Return what answers each call."""
        return {
            **dict.fromkeys(("rename", "link"), self._move),
            **dict.fromkeys(("renameat", "renameat2", "linkat"), self._move_at),
        }

    def _move(self, call: Call) -> None:
        self._record(call, named(call, at=False), lambda: named(call, at=False, skip=1))

    def _move_at(self, call: Call) -> None:
        self._record(call, named(call, at=True), lambda: named(call, at=True, skip=2))

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
