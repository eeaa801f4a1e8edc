"""What may go: mark from the names, sweep the rest.

Whatever came or was claimed since the oldest living lease began is spared: it may belong to a
pull or a build that is not finished (`ocitool.store.leases.Lease`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ocitool.errors import OcitoolError
from ocitool.oci.config import ImageConfig
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, Manifest, parse_any
from ocitool.store.disk import full_disk
from ocitool.store.layer import Layer, layer_names
from ocitool.store.leases import oldest_lease
from ocitool.store.refs import name_of
from ocitool.store.store import Store
from ocitool.store.sweeping import drivers_of, made

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver


_NO_TREE: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a collection removed."""

    images: tuple[Digest, ...] = ()
    blobs: int = 0
    layers: int = 0
    cache: int = 0
    size: int = 0  # bytes of blobs


@dataclass(slots=True)
class Marks:
    """What is in use: blobs, diff ids, names of unpacked layers."""

    blobs: set[Digest] = field(default_factory=set)
    diffs: set[Digest] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)


def prune(
    store: Store, *, all_images: bool = False, cache: bool = True, dangling: bool = True
) -> Pruned:
    """Remove every blob and layer that nothing uses any more.

    With *dangling* images without a name go first, with *all_images* those with a name, too, and
    with *cache* the build cache.
    """
    store.sweep()
    with store.layout.lock("prune"):
        return _prune(store, all_images=all_images, cache=cache, dangling=dangling)


def _prune(store: Store, *, all_images: bool, cache: bool, dangling: bool) -> Pruned:
    spare = oldest_lease(store.layout)
    gone = _images_to_go(store, all_images, spare) if dangling else ()
    store.refs.drop(gone)
    records = 0
    if cache:
        records = store.database.rows("SELECT COUNT(*) FROM cache")[0][0]
        store.database.run("DELETE FROM cache")
        store.database.run("DELETE FROM files")
    marks = mark(store)
    layers = _sweep_layers(store, marks, spare)
    blobs, size = _sweep_blobs(store, marks, spare)
    _sweep_files(store.layout.indexes, {d.encoded for d in marks.diffs}, spare)
    return Pruned(images=gone, blobs=blobs, layers=layers, cache=records, size=size)


def mark(store: Store) -> Marks:
    """Find what the names, the containers and the build cache use."""
    marks = Marks()
    for entry in store.refs.all():
        mark_image(store, entry, marks)
    for row in store.database.rows("SELECT record FROM cache"):
        _mark_record(json.loads(row[0]), marks)
    for layers in _container_layers(store):
        marks.layers.update(layers)
    # The plain tars that drivers keep of them.
    rows = store.database.rows("SELECT chain, diff FROM layers")
    marks.blobs.update(Digest.parse(diff) for chain, diff in rows if chain in marks.layers)
    return marks


def mark_image(store: Store, entry: Descriptor, marks: Marks) -> None:
    """Mark one image: its manifest, config, layers; of an index, whatever of it is here."""
    marks.blobs.add(entry.digest)
    if store.blobs.size(entry.digest) is None:
        return
    try:
        document = parse_any(store.blobs.read(entry), entry.media_type)
    except OcitoolError:
        return  # damaged: `system check` tells; its blobs are unknown
    if isinstance(document, Index):
        for child in document.manifests:
            mark_image(store, child, marks)
        return
    marks.blobs.add(document.config.digest)
    marks.blobs.update(layer.digest for layer in document.layers)
    with contextlib.suppress(OcitoolError):
        layers = layers_of(store, document)
        marks.diffs.update(layer.diff_id for layer in layers)
        marks.layers.update(layer_names(layers))


def layers_of(store: Store, manifest: Manifest) -> tuple[Layer, ...]:
    """Return the layers of an image that is here, lowest first."""
    config = ImageConfig.parse(store.blobs.read(manifest.config))
    pairs = zip(config.diff_ids, manifest.layers, strict=False)
    return tuple(Layer(diff_id=diff_id, blob=blob) for diff_id, blob in pairs)


def _mark_record(record: dict[str, object], marks: Marks) -> None:
    if record.get("blob"):
        marks.blobs.add(Digest.parse(str(record["blob"])))
        marks.diffs.add(Digest.parse(str(record["diff_id"])))
        marks.layers.add(str(record["name"]))


def _container_layers(store: Store) -> Iterable[list[str]]:
    for name in os.listdir(store.layout.containers):
        path = f"{store.layout.containers}/{name}/container.json"
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError), open(path, "rb") as file:
            yield json.load(file)["layers"]


def _images_to_go(store: Store, all_images: bool, spare: int) -> tuple[Digest, ...]:
    gone = []
    for entry in store.refs.all():
        if name_of(entry) and not all_images:
            continue
        path = store.blobs.path(entry.digest)
        if not os.path.exists(path) or not _is_young(path, spare):  # or there is no image
            gone.append(entry.digest)
    return tuple(gone)


def _sweep_blobs(store: Store, marks: Marks, spare: int) -> tuple[int, int]:
    count = size = 0
    for digest in list(store.blobs.all()):
        if digest in marks.blobs:
            continue
        removed = store.blobs.collect(digest, spare)
        if removed is None:
            continue
        text = str(digest)
        store.database.run("DELETE FROM packed WHERE digest = ?", (text,))
        store.database.run("DELETE FROM origins WHERE digest = ?", (text,))
        count += 1
        size += removed
    return count, size


def _sweep_layers(store: Store, marks: Marks, spare: int) -> int:
    count = 0
    for name in drivers_of(store.layout):
        with made(store.make_driver, name) as driver:
            if driver is not None:
                here = set(driver.layers())
                count += sum(
                    _remove_layer(store, driver, chain, spare)
                    for chain in _topmost_first(store, name, here)
                    if chain not in marks.layers or chain not in here
                )
                with full_disk(store.layout.root):
                    driver.discard(_NO_TREE)  # and what a removal that was killed has left
    return count


def _topmost_first(store: Store, driver: str, here: set[str]) -> list[str]:
    """Return the layers of a driver, none before those that stand on it.

    Those of a crash between rename and row come first: nothing that has a row stands on them.
    """
    rows = store.database.rows("SELECT chain, parent FROM layers WHERE driver = ?", (driver,))
    parents = dict(rows)

    def depth(chain: str) -> int:
        return 1 + depth(parents[chain]) if chain in parents else 0

    return [*sorted(here - set(parents)), *sorted(parents, key=depth, reverse=True)]


def _remove_layer(store: Store, driver: Driver, chain: str, spare: int) -> bool:
    which = (driver.name, chain)
    with store.layout.work_lock("layer", chain), full_disk(store.layout.root):
        # Whoever claims it now finds no row, and waits for the lock to unpack it anew.
        # Durably, or a power cut could bring back the row of a directory that is gone.
        store.database.run_durably(
            "DELETE FROM layers WHERE driver = ? AND chain = ? AND used < ?", (*which, spare / 1e9)
        )
        if store.database.rows("SELECT 1 FROM layers WHERE driver = ? AND chain = ?", which):
            return False
        driver.remove(chain)
    return True


def _sweep_files(directory: str, keep: set[str], spare: int) -> None:
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        if name not in keep and not _is_young(path, spare):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _is_young(path: str, spare: int) -> bool:
    try:
        return os.stat(path).st_mtime_ns >= spare
    except FileNotFoundError:
        return True
