"""Sizes of blobs, unpacked layers and indexes on disk; a file with several names counts once.

If a driver keeps a layer's plain tar and links it as a blob, it counts as part of the layer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ocitool.errors import LayerError, LayerNotFound
from ocitool.oci.digest import Digest
from ocitool.store.directory.atomic import is_temporary
from ocitool.store.drivers import drivers_of, open_driver
from ocitool.store.store import Store

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver


class UnpackedLayer(NamedTuple):
    """A layer that a driver has unpacked."""

    driver: str
    chain_id: str  # digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Sizes in bytes: of blobs, of unpacked layers, and of indexes by the digits of the diff ID."""

    blobs: dict[Digest, int]
    layers: dict[UnpackedLayer, int]
    indexes: dict[str, int]

    def layer(self, chain: str) -> int:
        """Return the bytes that a layer takes with all drivers."""
        return sum(size for layer, size in self.layers.items() if layer.chain_id == chain)


def measure(store: Store) -> Space:
    """Measure everything."""
    return Space(blobs=_blobs(store), layers=_layers(store), indexes=_indexes(store))


def _blobs(store: Store) -> dict[Digest, int]:
    unpacked = {record.diff_id for record in store.layer_records.all()}
    seen: set[tuple[int, int]] = set()
    sizes: dict[Digest, int] = {}
    for digest in sorted(store.blobs.all()):
        try:
            state = os.stat(store.blobs.path(digest))
        except FileNotFoundError:
            continue
        inode = (state.st_dev, state.st_ino)
        linked = state.st_nlink > 1 and (inode in seen or str(digest) in unpacked)
        seen.add(inode)
        sizes[digest] = 0 if linked else state.st_size
    return sizes


def _layers(store: Store) -> dict[UnpackedLayer, int]:
    sizes: dict[UnpackedLayer, int] = {}
    for name in drivers_of(store.layout):
        with open_driver(store.make_driver, name) as driver:
            if driver is not None:
                for chain in driver.layers():
                    sizes[UnpackedLayer(name, chain)] = layer_size(driver, chain)
    return sizes


def layer_size(driver: Driver, chain: str) -> int:
    """Return what an unpacked layer takes in bytes, 0 if it was removed meanwhile or is corrupt."""
    try:
        return driver.usage(chain).size
    except (LayerNotFound, LayerError, OSError):
        return 0


def _indexes(store: Store) -> dict[str, int]:
    with os.scandir(store.layout.indexes) as entries:
        return {e.name: e.stat().st_size for e in entries if not is_temporary(e.name)}
