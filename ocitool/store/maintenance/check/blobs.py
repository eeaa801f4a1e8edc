"""Verifying layers: that a blob holds the tar of its diff ID, and that its index fits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterator
from typing import Final

from ocitool.errors import BlobNotFound, OcitoolError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.mediatypes import OCI_LAYER
from ocitool.store.layer_content import Layer, open_plain
from ocitool.store.maintenance.check.database import wrong_row
from ocitool.store.maintenance.check.problems import REPAIR, BadFile, Problem
from ocitool.store.maintenance.mark import Inventory
from ocitool.store.store import Store

_MADE: Final = f"{REPAIR}; it is made again when needed"


def verify_tars(
    store: Store, inventory: Inventory, bad: Container[Digest], verified: dict[Digest, Layer]
) -> Iterator[Problem]:
    """Read the tar of each layer; *verified* is filled with the readable layers, by diff ID.

    Blobs that are missing, or *bad*, are skipped: they are reported elsewhere.
    """
    for layer in sorted(
        {*inventory.layers, *inventory.rows}, key=lambda each: str(each.blob.digest)
    ):
        if layer.blob.digest not in bad and store.blobs.size(layer.blob.digest) == layer.blob.size:
            yield from _verify(store, inventory, layer, verified)
    for diff_id in {
        layer.diff_id for layer in (*inventory.layers, *inventory.rows)
    } - verified.keys():
        plain = plain_layer(store, diff_id)
        if plain is not None and diff_id not in bad:
            yield from _verify(store, inventory, plain, verified)


def plain_layer(store: Store, diff_id: Digest) -> Layer | None:
    """Return a layer by its plain tar, which a driver keeps as a blob; None without one."""
    size = store.blobs.size(diff_id)
    if size is None:
        return None
    return Layer(diff_id=diff_id, blob=Descriptor(media_type=OCI_LAYER, digest=diff_id, size=size))


def _verify(
    store: Store, inventory: Inventory, layer: Layer, verified: dict[Digest, Layer]
) -> Iterator[Problem]:
    from ocitool.layer.compression.parallel import ReadAhead
    from ocitool.layer.index.index import index_of

    try:
        with contextlib.closing(ReadAhead(open_plain(store.blobs, layer))) as tar:
            wanted = index_of(tar)
    except BlobNotFound:  # removed meanwhile
        return
    except OcitoolError as error:
        if layer in inventory.layers:
            yield Problem(
                what=f"blob {layer.blob.digest} is not the layer that its image names: {error}",
                remedy="build or push the image again",
            )
        yield from map(wrong_row, inventory.rows.get(layer, ()))
        return
    if layer.diff_id not in verified:
        verified[layer.diff_id] = layer
        path = f"{store.layout.indexes}/{layer.diff_id.encoded}"
        if _differs(path, wanted):
            yield Problem(what=f"layer index {path} is corrupt", remedy=_MADE, fault=BadFile(path))


def _differs(path: str, wanted: bytes) -> bool:
    from ocitool.layer.index.index import is_earlier

    try:
        with open(path, "rb") as file:
            found = file.read()
        return found != wanted and not is_earlier(found)
    except FileNotFoundError:  # it does not exist, or was removed meanwhile
        return os.path.islink(path)
