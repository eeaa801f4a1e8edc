"""What the names of a store need: every blob with its descriptor, every layer with its blob."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field

from ocitool.errors import OcitoolError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, parse_any
from ocitool.oci.mediatypes import layer_type
from ocitool.store.layer import Layer
from ocitool.store.marks import documents, layers_of
from ocitool.store.refs import name_of
from ocitool.store.store import Store


@dataclass(slots=True)
class Stock:
    """Blobs by digest, with the names of the images that need them; layers by their diff ids."""

    blobs: dict[Digest, Descriptor] = field(default_factory=dict)
    names: dict[Digest, set[str]] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)  # by the digits of the diff id

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
        for layer in layers_of(store, document):
            stock.layers.setdefault(layer.diff_id.encoded, layer)


def add_packed(store: Store, stock: Stock) -> None:
    """Add the layers that were made here, whether or not an image has them."""
    from ocitool.layer.compression import parse

    for text, diff, codec in store.database.rows("SELECT digest, diff, codec FROM packed"):
        digest = Digest.parse(text)
        size = store.blobs.size(digest)
        if size is not None:
            blob = Descriptor(
                media_type=layer_type(parse(codec)[0].suffix), digest=digest, size=size
            )
            diff_id = Digest.parse(diff)
            stock.layers.setdefault(diff_id.encoded, Layer(diff_id=diff_id, blob=blob))
    for (record,) in store.database.rows("SELECT record FROM cache"):
        fields = json.loads(record)
        if fields.get("blob"):
            digest = Digest.parse(fields["blob"])
            stock.blobs.setdefault(
                digest,
                Descriptor(media_type=fields["media_type"], digest=digest, size=fields["size"]),
            )
