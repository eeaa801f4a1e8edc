"""Digests, and reading content while verifying it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Protocol, Self

from ocitool.errors import BadDigest

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
