"""What may go: mark from the names, sweep the rest.

Whatever came or was claimed since the oldest living lease began is spared: it may belong to a
pull or a build that is not finished (`ocitool.store.layout.Lease`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from ocitool.errors import OcitoolError
from ocitool.oci.config import ImageConfig
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, Manifest, parse_any
from ocitool.store.layer import Layer, layer_names
from ocitool.store.layout import oldest_lease
from ocitool.store.refs import name_of
from ocitool.store.store import Store


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


def _images_to_go(store: Store, all_images: bool, spare: float) -> tuple[Digest, ...]:
    gone = []
    for entry in store.refs.all():
        if name_of(entry) and not all_images:
            continue
        if not _is_young(store.blobs.path(entry.digest), spare):
            gone.append(entry.digest)
    return tuple(gone)


def _sweep_blobs(store: Store, marks: Marks, spare: float) -> tuple[int, int]:
    count = size = 0
    for digest in list(store.blobs.all()):
        path = store.blobs.path(digest)
        if digest in marks.blobs or _is_young(path, spare):
            continue
        found = store.blobs.size(digest)
        if found is None:
            continue
        trash = f"{store.layout.trash}/{digest.encoded}"
        os.rename(path, trash)
        if _is_young(trash, spare):  # claimed in the last moment
            os.rename(trash, path)
            continue
        os.unlink(trash)
        text = str(digest)
        store.database.run("DELETE FROM packed WHERE digest = ?", (text,))
        store.database.run("DELETE FROM origins WHERE digest = ?", (text,))
        count += 1
        size += found
    return count, size


def _sweep_layers(store: Store, marks: Marks, spare: float) -> int:
    rows = store.database.rows("SELECT driver, chain, used FROM layers")
    known = {(driver, chain) for driver, chain, _ in rows}
    count = 0
    for driver, chain, used in rows:
        if chain in marks.layers or used >= spare:
            continue
        count += _remove_layer(store, driver, chain)
    current = store.layers.driver if rows else None
    if current is not None:
        for chain in list(current.layers()):  # those of a crash between rename and row
            if (current.name, chain) not in known and chain not in marks.layers:
                count += _remove_layer(store, current.name, chain)
    return count


def _remove_layer(store: Store, driver: str, chain: str) -> int:
    if driver != store.layers.driver.name:
        return 0  # `--driver NAME system prune` removes those
    with store.layout.lock(f"layer-{chain}"):
        store.database.run("DELETE FROM layers WHERE driver = ? AND chain = ?", (driver, chain))
        store.layers.driver.remove(chain)
    return 1


def _sweep_files(directory: str, keep: set[str], spare: float) -> None:
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        if name not in keep and not _is_young(path, spare):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _is_young(path: str, spare: float) -> bool:
    try:
        state = os.stat(path)
    except FileNotFoundError:
        return True
    return state.st_mtime >= spare
