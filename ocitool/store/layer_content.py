"""A layer as a value, its name in a driver, and its plain tar, verified while it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocitool.errors import DigestMismatch, LayerError, StoreError, TooLarge
from ocitool.layer.entry import DEFAULT_LIMITS
from ocitool.oci.config import chain_id
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.store.blobs import Blobs

if TYPE_CHECKING:
    from ocitool.oci.content import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of an image: the digest of its plain tar, and the blob that holds it."""

    diff_id: Digest
    blob: Descriptor


def chain_ids(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Return the names of *layers* in a driver: their chain ids' digits, lowest first."""
    names: list[str] = []
    chain: Digest | None = None
    for layer in layers:
        chain = layer.diff_id if chain is None else chain_id((chain, layer.diff_id))
        names.append(chain.encoded)
    return tuple(names)


def open_plain(blobs: Blobs, layer: Layer) -> Stream:
    """Open the plain tar of a layer; it is verified at its end, by `LayerError` and digest."""
    from ocitool.layer.compression.codecs import for_type

    codec = for_type(layer.blob.media_type)
    return verified(codec.decompress(blobs.open(layer.blob.digest)), layer)


def verified(tar: Stream, layer: Layer) -> Stream:
    """Return the plain *tar* of a layer as a stream that raises at its end if it is another."""
    return VerifiedTar(tar, layer.diff_id, layer.blob.size)


@contextlib.contextmanager
def reporting_corrupt_blob(blobs: Blobs, layer: Layer) -> Iterator[None]:
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


class VerifiedTar:
    """Compares what is read with the diff id when it ends, and stops a bomb on the way."""

    def __init__(self, stream: Stream, diff_id: Digest, packed: int) -> None:
        self._stream = stream
        self._diff_id = diff_id
        self._packed = packed  # bytes of the blob
        self._hash = diff_id.hasher()
        self._size = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        if data:
            self._hash.update(data)
            self._size += len(data)
            self._bound()
        elif size:
            got = f"{self._diff_id.algorithm}:{self._hash.hexdigest()}"
            if got != str(self._diff_id):
                where = "unpacked layer"
                raise DigestMismatch(str(self._diff_id), got, size=self._size, where=where)
        return data

    def close(self) -> None:
        self._stream.close()

    def _bound(self) -> None:
        limits = DEFAULT_LIMITS
        if self._size > limits.ratio_from and self._size > self._packed * limits.ratio:
            raise TooLarge(
                f"{self._packed} bytes unpack to more than {limits.ratio} times as much",
                hint="it looks like a decompression bomb",
            )
