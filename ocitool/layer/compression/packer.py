"""Turning a tar into a layer's blob: hashed plain, compressed and written, all at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from ocitool.layer.codec import CHUNK, Codec, Rewriter
from ocitool.layer.compression.parallel import Lane
from ocitool.oci.digest import Digest


class Packer:
    """Takes a tar piece by piece and gives its compressed form to *sink*.

    *sink* is called from another thread.  ``size`` is the number of plain bytes taken.  However
    the pieces are cut, the same tar gives the same blob: a compressor's output depends on how it
    is fed, so it is fed in blocks of one size.  ``annotations`` are those that the blob's
    descriptor needs, once it is finished.
    """

    def __init__(
        self, codec: Codec, sink: Callable[[bytes], object], level: int | None = None
    ) -> None:
        self._hash = hashlib.sha256()
        self._compressor = codec.compressor(level)
        self._sink = sink
        self._hashing = Lane(self._hash.update)
        self._packing = Lane(self._pack)
        self._block = bytearray()
        self.size = 0
        self.annotations: Mapping[str, str] = {}

    def write(self, piece: bytes) -> None:
        """Take the next piece; raises what went wrong with those before."""
        self.size += len(piece)
        self._hashing.put(piece)
        self._packing.put(piece)

    def finish(self) -> Digest:
        """Wait for the end; returns the diff id, the digest of the plain tar.

        It is that of the tar which the blob holds: a `Rewriter` has added to the one taken.
        """
        try:
            self._hashing.close()
        finally:
            self._packing.close()
        self._compress(bytes(self._block))
        self._sink(self._compressor.flush())
        if isinstance(self._compressor, Rewriter):
            self.annotations = self._compressor.annotations
            return self._compressor.diff_id
        return Digest("sha256", self._hash.hexdigest())

    def abandon(self) -> None:
        """End the threads of a layer that will not be."""
        for lane in (self._hashing, self._packing):
            try:
                lane.close()
            except Exception:  # the first fault is on its way already
                continue

    def _pack(self, piece: bytes) -> None:
        if not self._block and len(piece) == CHUNK:
            self._compress(piece)
            return
        self._block += piece
        while len(self._block) >= CHUNK:
            self._compress(bytes(self._block[:CHUNK]))
            del self._block[:CHUNK]

    def _compress(self, block: bytes) -> None:
        if packed := self._compressor.compress(block):
            self._sink(packed)
