"""What the names of a store need: every blob with its descriptor, every layer with its blob."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from ocitool.errors import OcitoolError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, parse_any
from ocitool.store.layer import Layer
from ocitool.store.marks import documents, layers_of
from ocitool.store.problems import BadRow
from ocitool.store.refs import name_of
from ocitool.store.store import Store


@dataclass(slots=True)
class Stock:
    """Blobs by digest, with the names of the images that need them, and what holds each layer."""

    blobs: dict[Digest, Descriptor] = field(default_factory=dict)
    names: dict[Digest, set[str]] = field(default_factory=dict)
    layers: set[Layer] = field(default_factory=set)  # of images
    rows: dict[Layer, set[BadRow]] = field(default_factory=dict)  # that say what a blob holds

    def need(self, descriptor: Descriptor, name: str) -> None:
        """Note that the image *name* needs a blob."""
        self.blobs.setdefault(descriptor.digest, descriptor)
        self.names.setdefault(descriptor.digest, set()).add(name)


def take_stock(store: Store) -> Stock:
    """Follow every name as far as its documents can be read."""
    stock = Stock()
    for entry in store.refs.all():
        for part in documents(store, entry):
            # The other platforms need not be here.
            if part is entry or store.blobs.size(part.digest) is not None:
                _document(store, part, name_of(entry), stock)
    return stock


def _document(store: Store, entry: Descriptor, name: str, stock: Stock) -> None:
    stock.need(entry, name)
    with contextlib.suppress(OcitoolError):  # missing or damaged: what it needs is unknown
        document = parse_any(store.blobs.read(entry), entry.media_type)
        if isinstance(document, Index):
            return
        for part in (document.config, *document.layers):
            stock.need(part, name)
        stock.layers.update(bare(layer) for layer in layers_of(store, document))


def bare(layer: Layer) -> Layer:
    """Return *layer* without what another image may say otherwise of its blob."""
    blob = layer.blob
    plain = Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size)
    return Layer(diff_id=layer.diff_id, blob=plain)
