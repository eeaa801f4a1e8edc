"""Comparing what was unpacked, and what is remembered of layers, with the layers' tars."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ocitool.errors import DigestMismatch, LayerError, LayerNotFound, OcitoolError
from ocitool.progress import Notice, ProgressSink, Transfer
from ocitool.store.files import is_temporary
from ocitool.store.layer import Layer
from ocitool.store.layout import boot_id
from ocitool.store.plain import open_plain
from ocitool.store.problems import BadFile, BadLayer, Problem
from ocitool.store.store import Store
from ocitool.store.sweeping import is_hidden, made

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver

_REPAIR = "run `ocitool system check --repair`; it is {} again when needed"
_Rows = dict[str, tuple[str, str, str]]  # chain -> diff id, parent, boot


def check_layers(
    store: Store, layers: Mapping[str, Layer], progress: ProgressSink
) -> Iterator[Problem]:
    """Compare each unpacked layer with its tar, as far as *layers* (by diff id) has its blob."""
    query = "SELECT driver, chain, diff, parent, boot FROM layers ORDER BY driver, chain"
    drivers: dict[str, _Rows] = {}
    for name, chain, *rest in store.database.rows(query):
        drivers.setdefault(name, {})[chain] = (rest[0], rest[1], rest[2])
    for name, rows in drivers.items():
        if is_hidden(store.layout, name):
            text = f"the layers of driver {name} are not looked at: only their owner may"
            progress.emit(Notice(text=text, level="warning"))
            continue
        with made(store.make_driver, name) as driver:
            if driver is None:
                yield Problem(
                    what=f"layers are kept by the driver {name}, which cannot be had here",
                    remedy=f"install it again, or remove {store.layout.drivers}/{name}",
                )
                continue
            yield from _of_driver(store, driver, rows, layers, progress)


def _of_driver(
    store: Store,
    driver: Driver,
    rows: _Rows,
    layers: Mapping[str, Layer],
    progress: ProgressSink,
) -> Iterator[Problem]:
    here, now = set(driver.layers()), boot_id()
    for chain, (diff, _, boot) in rows.items():
        parents = _parents(rows, chain)
        layer = layers.get(diff.partition(":")[2])
        if chain not in here:
            wrong = "has lost its directory"
        # What an earlier boot left half on the disk is not believed by anybody.
        # A link leads to a layer of a shared store, which is for its owner to prove.
        elif (
            layer is not None
            and boot in ("", now)
            and here.issuperset(parents)
            and not os.path.islink(f"{store.layout.drivers}/{driver.name}/layers/{chain}")
        ):
            wrong = _difference(store, driver, chain, parents, layer, progress)
        else:
            continue
        if wrong and _has_row(store, driver.name, chain):  # it may have been removed meanwhile
            yield Problem(
                what=f"layer {chain[:12]} of driver {driver.name} {wrong}",
                remedy=_REPAIR.format("unpacked"),
                fault=BadLayer(driver.name, chain),
            )


def _parents(rows: _Rows, chain: str) -> list[str]:
    """Return the layers below *chain*, the lowest first."""
    found: list[str] = []
    while (chain := rows[chain][1] if chain in rows else "") and chain not in found:
        found.insert(0, chain)
    return found


def _difference(
    store: Store,
    driver: Driver,
    chain: str,
    parents: list[str],
    layer: Layer,
    progress: ProgressSink,
) -> str:
    """Return how an unpacked layer differs from its tar, ``""`` if it does not."""
    from ocitool.layer.threads import ReadAhead

    size = layer.blob.size
    progress.emit(Transfer(key=chain, action="check", total=size))
    faults: list[str] = []
    told = contextlib.suppress(LayerNotFound, DigestMismatch, LayerError)  # of the blob
    with told, contextlib.closing(ReadAhead(open_plain(store.blobs, layer))) as tar:
        faults = list(driver.check(chain, parents, tar))
    progress.emit(Transfer(key=chain, action="check", done=size, total=size, state="done"))
    if not faults:
        return ""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"is not as its tar says: {faults[0]}{more}"


def _has_row(store: Store, driver: str, chain: str) -> bool:
    query = "SELECT 1 FROM layers WHERE driver = ? AND chain = ?"
    return bool(store.database.rows(query, (driver, chain)))


def check_indexes(store: Store, layers: Mapping[str, Layer]) -> Iterator[Problem]:
    """Compare the index of each of *layers* with its tar, and so the tar with its diff id."""
    from ocitool.layer.index import index_of
    from ocitool.layer.threads import ReadAhead

    kept = {name for name in os.listdir(store.layout.indexes) if not is_temporary(name)}
    for digits, layer in sorted(layers.items()):
        try:
            with contextlib.closing(ReadAhead(open_plain(store.blobs, layer))) as tar:
                wanted = index_of(tar)
        except OcitoolError as error:
            yield Problem(
                what=f"blob {layer.blob.digest} does not hold the layer that its image says: "
                f"{error}",
                remedy="build or push the image again",
            )
            continue
        path = f"{store.layout.indexes}/{digits}"
        if digits in kept and _differs(path, wanted):
            yield Problem(
                what=f"the index {path} is damaged",
                remedy=_REPAIR.format("made"),
                fault=BadFile(path),
            )


def _differs(path: str, wanted: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read() != wanted
    except FileNotFoundError:  # removed meanwhile
        return False
