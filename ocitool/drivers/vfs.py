"""Each layer as a complete copy of its parent with its changes: works on every file system.

A copy shares its blocks if the file system can do that (reflinks, on btrfs and XFS).  Changes are
found by comparing files with the parent's, but only those that changed after the copy.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar, Final

from ocitool.drivers.driver import Support
from ocitool.drivers.fullcopy import FullCopyDriver

_COPIED: Final = "copied"  # a file made right after the copy: its change time


class VfsDriver(FullCopyDriver):
    """One complete directory a layer; slow to make, but nothing is stacked."""

    name: ClassVar[str] = "vfs"
    mapped: ClassVar[frozenset[str]] = frozenset(
        {"begin", "apply", "diff", "discard", "remove", "usage", "check"}
    )

    #: Whether it works for a user without a user namespace: nothing has to be mounted for it.
    unprivileged: ClassVar[bool] = True

    def probe(self) -> Support:
        return Support(ok=True, reason="plain directories work everywhere")

    def begin(self, key: str, parents: Sequence[str]) -> None:
        top = self._make_root_like(key, parents)
        if parents:
            from ocitool.drivers.fullcopy import copy_tree
            from ocitool.layer import ownership

            ownership.current().open_tree(self._layer(parents[-1]))
            copy_tree(self._layer(parents[-1]), top)
        os.close(os.open(self._stamp(key), os.O_CREAT | os.O_EXCL, 0o600))

    def _since(self, key: str) -> int:
        return os.stat(self._stamp(key)).st_ctime_ns

    def _stamp(self, key: str) -> str:
        return f"{self._snapshot(key)}/{_COPIED}"
