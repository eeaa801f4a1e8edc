"""Reading the plain tar of a layer from its blob."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ocitool.errors import DigestMismatch, LayerError, StoreError
from ocitool.store.blobs import Blobs
from ocitool.store.layer import Layer

if TYPE_CHECKING:
    from ocitool.oci.content import Stream


def open_plain(blobs: Blobs, layer: Layer) -> Stream:
    """Open the plain tar of a layer; it is proved at its end, by `LayerError` and digest."""
    from ocitool.layer.compression.codecs import for_type

    codec = for_type(layer.blob.media_type)
    return prove(codec.decompress(blobs.open(layer.blob.digest)), layer)


def prove(tar: Stream, layer: Layer) -> Stream:
    """Return the plain *tar* of a layer as a stream that raises at its end if it is another."""
    from ocitool.store.proved import ProvedTar

    return ProvedTar(tar, layer.diff_id, layer.blob.size)


@contextlib.contextmanager
def damage_told(blobs: Blobs, layer: Layer) -> Iterator[None]:
    """Tell a layer that cannot be read because its blob is damaged from one that is bad by itself.

    The blob is hashed only when there was a fault.

    Raises:
        StoreError: the blob does not hold what its digest says.
    """
    try:
        yield
    except (LayerError, DigestMismatch) as error:
        for digest in (layer.diff_id, layer.blob.digest):  # of the first there need be no blob
            if blobs.size(digest) is not None and blobs.hash(digest) != digest:
                raise StoreError(
                    f"the blob {digest} is damaged: {error}",
                    where=blobs.path(digest),
                    hint="run `ocitool system check --repair`, which fetches it again",
                ) from error
        raise
