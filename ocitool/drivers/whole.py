"""What drivers have in common whose layers are whole trees, of which nothing is ever stacked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.drivers.folders import FS, InFolders
from ocitool.layer.whiteouts import Removal
from ocitool_runtime.spec import Mount

if TYPE_CHECKING:
    from ocitool.layer.unpack.extract import Applied
    from ocitool.oci.content import Stream


class WholeTrees(InFolders, ABC):
    """A tree begins as a copy of the topmost layer; its changes are what was touched since."""

    @abstractmethod
    def _since(self, key: str) -> int:
        """Return a change time (ctime, in nanoseconds) of right after the tree *key* was made."""

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        from ocitool.layer.unpack.extract import apply  # starting a container does without

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
        from ocitool.layer.changes.diff import changes_since, write_changes

        before = self._folders.layer(parents[-1]) if parents else ""
        changes = changes_since(self._top(key), before, self._since(key) if parents else 0)
        return write_changes(changes, sink, clamp=clamp)

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        from ocitool.layer.changes.verify import compare

        below = [self._folders.layer(name) for name in reversed(parents)][:1]
        return compare(tar, self._folders.layer(layer), below, whole=True)

    def _top(self, key: str) -> str:
        return f"{self._folders.tree(key)}/{FS}"
