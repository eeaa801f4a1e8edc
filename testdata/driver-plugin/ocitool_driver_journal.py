"""An example of a third party's storage driver: full copies, and a journal of layers.

It is a wrapper around `ocitool.drivers.vfs.VfsDriver`; HOME/journal lists which layers were
committed and removed.  A driver of your own has the methods of `ocitool.drivers.driver.Driver`,
whose docstring is the contract, and passes `ocitool.drivers.conformance.DriverConformance`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ocitool.drivers.driver import Support, Usage
from ocitool.drivers.vfs import VfsDriver

if TYPE_CHECKING:
    from ocitool.layer.apply_changeset import Applied
    from ocitool.oci.content import Stream
    from ocitool_runtime.spec import Mount


class JournalDriver:
    """Keeps layers as `VfsDriver` does, and a journal."""

    name = "journal"
    mapped = VfsDriver.mapped
    durable = VfsDriver.durable

    def __init__(self, home: str) -> None:
        self._home = home
        self._inner = VfsDriver(home)

    def probe(self) -> Support:
        return self._inner.probe()

    def begin(self, key: str, parents: Sequence[str]) -> None:
        self._inner.begin(key, parents)

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        return self._inner.apply(key, parents, tar)

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        return self._inner.mounts(key, parents)

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        return self._inner.view(parents)

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        return self._inner.diff(key, parents, sink, clamp=clamp)

    def commit(self, key: str, layer: str) -> None:
        self._inner.commit(key, layer)
        self._note("commit", layer)

    def discard(self, key: str) -> None:
        self._inner.discard(key)

    def remove(self, layer: str) -> None:
        self._inner.remove(layer)
        self._note("remove", layer)

    def tar(self, layer: str) -> str:
        return self._inner.tar(layer)

    def has(self, layer: str) -> bool:
        return self._inner.has(layer)

    def layers(self) -> Iterator[str]:
        return self._inner.layers()

    def trees(self) -> Iterator[str]:
        return self._inner.trees()

    def usage(self, layer: str) -> Usage:
        return self._inner.usage(layer)

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        return self._inner.check(layer, parents, tar)

    def close(self) -> None:
        self._inner.close()

    def _note(self, *words: str) -> None:
        with open(f"{self._home}/journal", "a", encoding="utf-8") as journal:
            journal.write(" ".join(words) + "\n")
