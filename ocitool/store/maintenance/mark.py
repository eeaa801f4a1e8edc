"""Marking what is in use: by names, containers and the build cache; and what each name needs."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ocitool.errors import OcitoolError
from ocitool.oci.config import diff_ids_of
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import MANIFEST_LIMIT, Descriptor, Index, Manifest, parse_any
from ocitool.oci.mediatypes import INDEXES, MANIFESTS, bare
from ocitool.store.layer_content import Layer, chain_ids
from ocitool.store.maintenance.check.problems import BadRow
from ocitool.store.refs import name_of
from ocitool.store.store import Store


@dataclass(slots=True)
class Marks:
    """What is in use: blobs, diff IDs and chain IDs."""

    blobs: set[Digest] = field(default_factory=set)
    diffs: set[Digest] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)


def mark(
    store: Store,
    *,
    cache: bool = True,
    dangling: bool = True,
    among: frozenset[Digest] | None = None,
) -> Marks:
    """Find what the names, the containers and the build cache use.

    Without *dangling*, images without a name are left out; without *cache*, the build cache.  With
    *among* only these blobs matter: images that have none of them are skipped, and their layers
    are not marked.
    """
    marks = Marks()
    for entry in store.refs.all():
        if not dangling and not name_of(entry):
            continue
        if among is None or _mentions(store, entry, among - marks.blobs):
            mark_image(store, entry, marks)
    for record in store.build_cache.uses() if cache else ():
        if record.layer is not None:
            marks.blobs.add(record.layer.blob.digest)
            marks.diffs.add(record.layer.diff_id)
            marks.layers.add(record.chain_id)
    for layers in container_layers(store):
        marks.layers.update(layers)
    # The plain tars that drivers keep of these layers; only they have a second name.
    unpacked = (each for each in store.layer_records.all() if each.chain_id in marks.layers)
    kept = (Digest.parse(each.diff_id) for each in unpacked)
    marks.blobs.update(digest for digest in kept if store.blobs.has_other_name(digest))
    return marks


def _mentions(store: Store, entry: Descriptor, blobs: frozenset[Digest]) -> bool:
    """Say whether a manifest may name one of *blobs*; its bytes are searched, not parsed."""
    if entry.media_type in INDEXES or entry.digest in blobs:
        return True
    try:
        with store.blobs.open(entry.digest) as file:
            raw = file.read(MANIFEST_LIMIT)
    except OcitoolError:
        return True
    # JSON can write every character as an escape.
    return b"\\u" in raw or any(blob.encoded.encode() in raw for blob in blobs)


def mark_image(store: Store, entry: Descriptor, marks: Marks) -> None:
    """Mark one image: its manifest, config, layers; of an index, all of it that is in the store."""
    for part in documents(store, entry):
        marks.blobs.add(part.digest)
        if store.blobs.size(part.digest) is None:
            continue
        try:
            document = parse_any(store.blobs.read(part), part.media_type)
        except OcitoolError:
            continue  # corrupt: `system check` reports it; its blobs are unknown
        if isinstance(document, Manifest):
            _mark_manifest(store, document, marks)


def _mark_manifest(store: Store, manifest: Manifest, marks: Marks) -> None:
    marks.blobs.add(manifest.config.digest)
    marks.blobs.update(layer.digest for layer in manifest.layers)
    with contextlib.suppress(OcitoolError):
        layers = layers_of(store, manifest)
        marks.diffs.update(layer.diff_id for layer in layers)
        marks.layers.update(chain_ids(layers))


def documents(store: Store, entry: Descriptor) -> Iterator[Descriptor]:
    """Yield *entry* and, of an index, all that it and its indexes name, each once.

    They need not be in the store.  Indexes may name each other in any number and depth, so there
    is no recursion.
    """
    met = {(entry.digest, entry.media_type)}
    todo = [entry]
    while todo:
        part = todo.pop()
        yield part
        if bare(part.media_type) not in MANIFESTS and store.blobs.size(part.digest) is not None:
            children: Sequence[Descriptor] = ()
            with contextlib.suppress(OcitoolError):  # corrupt
                document = parse_any(store.blobs.read(part), part.media_type)
                children = document.manifests if isinstance(document, Index) else ()
            for child in reversed(children):
                if (child.digest, child.media_type) not in met:
                    met.add((child.digest, child.media_type))
                    todo.append(child)


def layers_of(store: Store, manifest: Manifest) -> tuple[Layer, ...]:
    """Return the layers of an image in the store, lowest first."""
    diff_ids = diff_ids_of(store.blobs.read(manifest.config))
    pairs = zip(diff_ids, manifest.layers, strict=False)
    return tuple(Layer(diff_id=diff_id, blob=blob) for diff_id, blob in pairs)


def container_layers(store: Store) -> Iterator[list[str]]:
    """Yield the chain IDs of the layers that each container uses."""
    for name in os.listdir(store.layout.containers):
        path = f"{store.layout.containers}/{name}/container.json"
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError), open(path, "rb") as file:
            yield json.load(file)["layers"]


@dataclass(slots=True)
class Inventory:
    """Blobs by digest, with the names of the images that need them, and layers with their rows."""

    blobs: dict[Digest, Descriptor] = field(default_factory=dict)
    names: dict[Digest, set[str]] = field(default_factory=dict)
    layers: set[Layer] = field(default_factory=set)  # of images
    rows: dict[Layer, set[BadRow]] = field(
        default_factory=dict
    )  # that say which layer a blob holds

    def need(self, descriptor: Descriptor, name: str) -> None:
        """Record that the image *name* needs a blob."""
        self.blobs.setdefault(descriptor.digest, descriptor)
        self.names.setdefault(descriptor.digest, set()).add(name)


def take_inventory(store: Store) -> Inventory:
    """Follow every name, as far as its documents can be read."""
    inventory = Inventory()
    for entry in store.refs.all():
        for part in documents(store, entry):
            # The other platforms need not be here.
            if part is entry or store.blobs.size(part.digest) is not None:
                _document(store, part, name_of(entry), inventory)
    return inventory


def _document(store: Store, entry: Descriptor, name: str, inventory: Inventory) -> None:
    inventory.need(entry, name)
    with contextlib.suppress(OcitoolError):  # missing or corrupt: what it needs is unknown
        document = parse_any(store.blobs.read(entry), entry.media_type)
        if isinstance(document, Index):
            return
        for part in (document.config, *document.layers):
            inventory.need(part, name)
        inventory.layers.update(without_annotations(layer) for layer in layers_of(store, document))


def without_annotations(layer: Layer) -> Layer:
    """Return *layer* without annotations, which other images may have different ones of."""
    blob = layer.blob
    plain = Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size)
    return Layer(diff_id=layer.diff_id, blob=plain)
