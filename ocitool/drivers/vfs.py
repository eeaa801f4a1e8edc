"""Each layer as a whole tree, copied from the one below: works on every file system.

A copy shares its blocks where the file system can (reflinks, on btrfs and XFS).  Changes are found
by comparing the trees, but only what was touched since the copy is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from ocitool.drivers.driver import Support
from ocitool.drivers.folders import FS, Folders, InFolders
from ocitool.layer.whiteouts import Removal
from ocitool_runtime.spec import Mount

if TYPE_CHECKING:
    from ocitool.layer.apply import Applied
    from ocitool.oci.content import Stream

_COPIED: Final = "copied"  # a file whose change time is that of the end of the copy


class VfsDriver(InFolders):
    """One complete tree a layer; slow to make, but nothing is ever stacked."""

    name: ClassVar[str] = "vfs"
    mapped: ClassVar[frozenset[str]] = frozenset(
        {"begin", "apply", "diff", "discard", "remove", "usage", "check"}
    )

    def __init__(self, home: str) -> None:
        self._folders = Folders(home)

    def probe(self) -> Support:
        return Support(ok=True, reason="plain directories work everywhere")

    def begin(self, key: str, parents: Sequence[str]) -> None:
        top = self._folders.make(key, parents)
        if parents:
            from ocitool.drivers.copying import copy_tree

            copy_tree(self._folders.layer(parents[-1]), top)
        os.close(os.open(f"{self._folders.tree(key)}/{_COPIED}", os.O_CREAT | os.O_EXCL, 0o600))

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        from ocitool.layer.apply import apply  # starting a container does without

        return apply(tar, self._top(key), Removal())

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        return (Mount(type="bind", source=self._top(key), target="/"),)

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        source = self._folders.layer(parents[-1]) if parents else self._folders.empty()
        return (Mount(type="bind", source=source, target="/", options=("ro",)),)

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        from ocitool.layer.diff import changes_since, write_changes

        before = self._folders.layer(parents[-1]) if parents else ""
        since = os.stat(f"{self._folders.tree(key)}/{_COPIED}").st_ctime_ns
        changes = changes_since(self._top(key), before, since if parents else 0)
        return write_changes(changes, sink, clamp=clamp)

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        from ocitool.layer.compare import compare

        below = [self._folders.layer(name) for name in reversed(parents)][:1]
        return compare(tar, self._folders.layer(layer), below, whole=True)

    def _top(self, key: str) -> str:
        return f"{self._folders.tree(key)}/{FS}"
