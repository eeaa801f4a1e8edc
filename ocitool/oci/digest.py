"""Digests, and reading content while verifying it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol, Self

from ocitool.errors import BadDigest, DigestMismatch

# image-spec descriptor.md, "Digests": the grammar, and the lengths of the registered algorithms.
_GRAMMAR: Final = re.compile(r"([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")
_HEX_LENGTH: Final = {"sha256": 64, "sha512": 128}


class Hasher(Protocol):
    """The part of a ``hashlib`` object that is used here."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A content address: ``sha256:<hex>`` or ``sha512:<hex>``; its parts are safe file names."""

    algorithm: str
    encoded: str

    @classmethod
    def parse(cls, text: str, where: str = "") -> Self:
        """Read a digest; `BadDigest` if it is malformed or its algorithm is not supported."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise BadDigest(f"invalid digest {text!r}", where=where)
        algorithm, encoded = match.groups()
        length = _HEX_LENGTH.get(algorithm)
        if length is None:
            raise BadDigest(f"unsupported digest algorithm {algorithm!r}", where=where)
        if len(encoded) != length or not set(encoded) <= set("0123456789abcdef"):
            raise BadDigest(
                f"invalid digest {text!r}: expected {length} lower-case hexadecimal digits",
                where=where,
            )
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """Return the digest of *data*."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def hasher(self) -> Hasher:
        """Return a new hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    @property
    def short(self) -> str:
        """The first twelve digits, as listings show them."""
        return self.encoded[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"


class VerifiedReader:
    """A stream that verifies its content: `DigestMismatch` if it is wrong, too short or too long.

    It reads at most ``size + 1`` bytes of *source*, even from a peer that sends without end.  What
    was read is verified only when ``read`` has returned ``b""``.

    Source: OCI image-spec v1.1, descriptor.md, "Digests": verify size, then digest.
    """

    def __init__(self, source: BinaryIO, digest: Digest, size: int, *, where: str = "") -> None:
        self._source = source
        self._digest = digest
        self._size = size
        self._where = where
        self._hasher = digest.hasher()
        self._count = 0
        self._verified = False

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes, or all, verified; `DigestMismatch` if they are wrong."""
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
