"""Streams that wrap other streams.

Those that decompress, read ahead or resume a download are in the packages of these subjects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Self

from ocitool.errors import DigestMismatch
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest


class Tee:
    """A stream that also passes every piece that is read to *sink*."""

    def __init__(self, stream: Stream, sink: Callable[[bytes], object]) -> None:
        self._stream = stream
        self._sink = sink

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        if data:
            self._sink(data)
        return data

    def close(self) -> None:
        self._stream.close()


class Peeked:
    """A stream whose first *size* bytes, fewer if it is shorter, were read ahead: ``head``."""

    def __init__(self, stream: Stream, size: int) -> None:
        self._stream = stream
        self.head = b""
        while len(self.head) < size and (data := stream.read(size - len(self.head))):
            self.head += data
        self._left = self.head

    def read(self, size: int = -1, /) -> bytes:
        if self._left:
            data = self._left if size < 0 else self._left[:size]
            self._left = self._left[len(data) :]
            return data
        return self._stream.read(size)

    def close(self) -> None:
        self._stream.close()


class VerifiedReader:
    """A stream that verifies its content: `DigestMismatch` if it is wrong, too short or too long.

    It reads at most ``size + 1`` bytes of *source*, even from a peer that sends without end.  What
    was read is verified only when ``read`` has returned ``b""``.

    Source: OCI image-spec v1.1, descriptor.md, "Digests": verify size, then digest.
    """

    def __init__(self, source: BinaryIO, digest: Digest, size: int, *, where: str) -> None:
        self._source = source
        self._digest = digest
        self._size = size
        self._where = where
        self._hasher = digest.hasher()
        self._count = 0
        self._verified = False

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes, or all; `DigestMismatch` if they are wrong."""
        if size < 0:  # a source may give less than it was asked for
            return b"".join(iter(lambda: self.read(self._size + 1), b""))
        left = self._size - self._count
        want = min(size, left + 1)
        data = self._source.read(want) if want else b""
        self._count += len(data)
        if self._count > self._size:
            self._fail(f"more than {self._size} bytes")
        self._hasher.update(data)
        if not data and size != 0:
            self._verify()
        return data

    def _verify(self) -> None:
        if self._verified:
            return
        if self._count != self._size:
            self._fail(f"only {self._count} of {self._size} bytes")
        got = self._hasher.hexdigest()
        if got != self._digest.encoded:
            self._fail(f"{self._digest.algorithm}:{got}")
        self._verified = True

    def _fail(self, got: str) -> None:
        raise DigestMismatch(str(self._digest), got, size=self._count, where=self._where)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
