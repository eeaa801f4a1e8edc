"""A layer's plain tar, proved while it is read."""

from __future__ import annotations

from ocitool.errors import DigestMismatch, TooLarge
from ocitool.layer.entry import DEFAULT_LIMITS
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest


class ProvedTar:
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
