"""A layer as a value, its chain ID, and its plain tar, verified while it is read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ocitool.errors import DigestMismatch, DriverError, LayerError, StoreError, TooLarge
from ocitool.layer.entry import DEFAULT_LIMITS
from ocitool.oci.config import chain_id
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.streams import Tee
from ocitool.store.blobs import Blobs

if TYPE_CHECKING:
    from ocitool.oci.content import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of an image: the digest of its plain tar, and the blob that holds it.

    ``place`` is what errors call it (``layer 2 of app:1``), and no part of its identity.
    """

    diff_id: Digest
    blob: Descriptor
    place: str = field(default="layer", compare=False)


def chain_ids(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Return the chain IDs of *layers* (lowest first), as digits: their names in a driver."""
    names: list[str] = []
    chain: Digest | None = None
    for layer in layers:
        chain = layer.diff_id if chain is None else chain_id((chain, layer.diff_id))
        names.append(chain.encoded)
    return tuple(names)


def open_plain(
    blobs: Blobs, layer: Layer, on_read: Callable[[bytes], object] | None = None
) -> Stream:
    """Open the plain tar of a layer, which is verified at its end (`VerifiedTar`).

    *on_read* gets what is read of the blob, as it is stored.
    """
    from ocitool.layer.compression.codecs import for_layer

    blob = blobs.open(layer.blob.digest)
    try:
        codec = for_layer(layer.blob.media_type, blob.read(6))
        blob.seek(0)
    except BaseException:
        blob.close()
        raise
    return verified(codec.decompress(Tee(blob, on_read) if on_read else blob), layer)


def verified(tar: Stream, layer: Layer) -> Stream:
    """Return the plain *tar* of a layer as a stream that verifies it (`VerifiedTar`)."""
    return VerifiedTar(tar, layer.diff_id, layer.blob.size)


@contextlib.contextmanager
def naming(layer: Layer) -> Iterator[None]:
    """Say in errors of a layer's content which layer of which image it is."""
    try:
        yield
    except (LayerError, DigestMismatch, DriverError) as error:
        place = f"{layer.place} ({layer.blob.digest})"
        if not error.where.startswith(place):
            error.where = f"{place}: {error.where}" if error.where else place
        raise


@contextlib.contextmanager
def reporting_corrupt_blob(blobs: Blobs, layer: Layer) -> Iterator[None]:
    """Report a corrupt blob as the cause, if reading a layer fails because of it.

    The blob is hashed only after a failure.

    Raises:
        StoreError: the content of the blob does not match its digest.
    """
    try:
        with naming(layer):
            yield
    except (LayerError, DigestMismatch) as error:
        for digest in (layer.diff_id, layer.blob.digest):  # there may be no blob of the first
            if blobs.size(digest) is not None and blobs.hash(digest) != digest:
                raise StoreError(
                    f"blob {digest} is corrupt: {error}",
                    where=blobs.path(digest),
                    hint="run `ocitool system check --repair`, which fetches it again",
                ) from error
        raise


class VerifiedTar:
    """A tar that is compared with its diff ID when it ends; decompression bombs are stopped.

    Raises, from `read`:
        DigestMismatch: the tar has another digest.
        TooLarge: it is too large for the size of its blob.
    """

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
                raise DigestMismatch(str(self._diff_id), got, size=self._size, kind="diff ID")
        return data

    def close(self) -> None:
        self._stream.close()

    def _bound(self) -> None:
        limits = DEFAULT_LIMITS
        if self._size > limits.ratio_from and self._size > self._packed * limits.ratio:
            raise TooLarge(
                f"layer of {self._packed} bytes unpacks to more than {limits.ratio} times its size",
                hint="it may be a decompression bomb",
            )
