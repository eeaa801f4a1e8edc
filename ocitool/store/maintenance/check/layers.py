"""Comparing unpacked layers with their tars, the lowest first.

A layer on a corrupt one is corrupt, too: its files depend on those below, so it cannot be compared.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from ocitool.errors import OcitoolError, StoreError
from ocitool.oci.config import chain_id
from ocitool.oci.digest import Digest
from ocitool.progress import Notice, ProgressSink, Transfer
from ocitool.store.database.records import LayerRecord
from ocitool.store.directory.layout import boot_id
from ocitool.store.drivers import drivers_of, is_hidden, open_driver
from ocitool.store.layer_content import Layer, open_plain
from ocitool.store.maintenance.check.blobs import plain_layer
from ocitool.store.maintenance.check.database import wrong_row
from ocitool.store.maintenance.check.problems import REPAIR, BadLayer, BadRow, Problem
from ocitool.store.store import Store

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver

_UNPACKED: Final = f"{REPAIR}; it is unpacked again when needed"


def check_layers(
    store: Store, verified: Mapping[Digest, Layer], progress: ProgressSink
) -> Iterator[Problem]:
    """Compare each unpacked layer with its tar, if that is in *verified*, by diff ID."""
    for name in store.layer_records.drivers():
        if not _is_name(store, name):
            yield wrong_row(BadRow("layers", (("driver", name),)))
            continue
        if is_hidden(store.layout, name):
            text = f"layers of driver {name} are not checked: only their owner can read them"
            progress.emit(Notice(text=text, level="warning"))
            continue
        with open_driver(store.make_driver, name) as driver:
            if driver is None:
                yield Problem(
                    what=f"driver {name} has layers, and is not available",
                    remedy=f"install it again, or remove {store.layout.drivers}/{name}",
                )
                continue
            yield from _Unpacked(store, driver, verified, progress).problems()


def _is_name(store: Store, driver: Any) -> bool:
    return driver in (*drivers_of(store.layout), *drivers_of(store.layout, hidden=True))


class _Unpacked:
    """The layers of one driver."""

    def __init__(
        self,
        store: Store,
        driver: Driver,
        verified: Mapping[Digest, Layer],
        progress: ProgressSink,
    ) -> None:
        self._store = store
        self._driver = driver
        self._verified = verified
        self._progress = progress
        self._boot = boot_id()
        self._wrong: set[str] = set()
        self._rows = self._read()

    def _read(self) -> dict[str, LayerRecord]:
        records = self._store.layer_records.of_driver(self._driver.name)
        return {record.chain_id: record for record in records}

    def problems(self) -> Iterator[Problem]:
        """Yield the problems, those of lower layers first."""
        for chain in sorted(self._rows, key=lambda each: (len(self._parents(each)), each)):
            if not _names_layer(chain):
                yield wrong_row(BadRow("layers", (("driver", self._driver.name), ("chain", chain))))
            elif self._fault(chain) and (fault := self._fault_at_rest(chain)):
                self._wrong.add(chain)
                yield Problem(
                    what=f"layer {chain[:12]} of driver {self._driver.name} {fault}",
                    remedy=_UNPACKED,
                    fault=BadLayer(self._driver.name, chain),
                )

    def _fault_at_rest(self, chain: str) -> str:
        """Check again, under the lock of the layer."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(StoreError):  # a read-only store does not change
                held.enter_context(self._store.layout.work_lock("layer", chain))
            self._rows = self._read()
            return self._fault(chain)

    def _fault(self, chain: str) -> str:
        row = self._rows.get(chain)
        if row is None:  # removed meanwhile
            return ""
        if not _is_chain(chain, row):
            return "does not match its row in the database"
        if not self._driver.has(chain):
            return "is missing its directory, or a part of it"
        if row.parent in self._wrong:
            return f"has the parent {row.parent[:12]}, which is corrupt"
        parents = self._parents(chain)
        # A layer whose parents prune has removed is orphaned (`maintenance.unreferenced`).
        if not all(each in self._rows and self._driver.has(each) for each in parents):
            return ""
        # Layers of an earlier boot may be incomplete on the disk: they are unpacked again.
        if any(self._rows[each].boot not in ("", self._boot) for each in (*parents, chain)):
            return ""
        # A link points to a layer of a shared store, which its owner checks.
        if os.path.islink(f"{self._store.layout.drivers}/{self._driver.name}/layers/{chain}"):
            return ""
        layer = self._verified.get(diff_id := Digest.parse(row.diff_id))
        layer = layer or plain_layer(self._store, diff_id)
        return self._difference(chain, parents, layer) if layer is not None else ""

    def _parents(self, chain: str) -> list[str]:
        """Return the layers below *chain*, the lowest first."""
        found: list[str] = []
        while (row := self._rows.get(chain)) and row.parent and row.parent not in found:
            chain = row.parent
            found.insert(0, chain)
        return found

    def _difference(self, chain: str, parents: list[str], layer: Layer) -> str:
        """Return how an unpacked layer differs from its tar, ``""`` if it does not."""
        from ocitool.layer.compression.parallel import ReadAhead

        size, key = layer.blob.size, f"sha256:{chain}"
        self._progress.emit(Transfer(key=key, action="check", total=size))
        try:
            tar = open_plain(self._store.blobs, layer)
        except OcitoolError:  # it was removed meanwhile
            return ""
        try:
            with contextlib.closing(ReadAhead(tar)) as stream:
                faults = list(self._driver.check(chain, parents, stream))
        except (OcitoolError, OSError) as error:  # the tar was verified, so the layer is corrupt
            return f"cannot be read: {error}"
        self._progress.emit(Transfer(key=key, action="check", done=size, total=size, state="done"))
        if not faults:
            return ""
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return f"differs from its tar: {faults[0]}{more}"


def _names_layer(chain: Any) -> bool:
    return isinstance(chain, str) and re.fullmatch("[0-9a-f]{64}|[0-9a-f]{128}", chain) is not None


def _is_chain(chain: str, row: LayerRecord) -> bool:
    """Say whether the chain ID is that of the row's diff ID on its parent."""
    try:
        diff_id = Digest.parse(row.diff_id)
        if not row.parent:
            return diff_id.encoded == chain
        # Of the lowest layer the chain ID is the diff ID, of whatever algorithm.
        below = Digest("sha512" if len(row.parent) == 128 else "sha256", row.parent)
        return chain_id((below, diff_id)).encoded == chain
    except (OcitoolError, ValueError, TypeError, AttributeError):
        return False
