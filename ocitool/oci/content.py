"""Where content comes from and goes to: the two Protocols that registry, store and archives share.

They let `ocitool.image.copy` be written once.  Implementations may be called from several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ocitool.oci.manifest import Descriptor


class Stream(Protocol):
    """A readable stream that is closed by its context."""

    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


Opener = Callable[[], Stream]
"""Opens the same content from its start, as often as a retry needs it."""


class ContentSource(Protocol):
    """Manifests and blobs to be had."""

    def resolve(self) -> Descriptor:
        """Return the manifest or index this source stands for; `NotFound` if it is gone."""

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return a document (manifest, index, config) whole, verified, at most 4 MiB.

        Raises:
            DigestMismatch: it is not what *descriptor* says.
            NotFound: it is not there.
        """

    def open(self, descriptor: Descriptor) -> Stream:
        """Return a blob as a stream that proves it: wrong content raises `DigestMismatch` while
        it is read, at the latest at its end."""


class ContentSink(Protocol):
    """A place that takes manifests and blobs, children before parents."""

    def has(self, descriptor: Descriptor) -> bool:
        """Say whether the content is there already."""

    def expect(self, descriptors: Sequence[Descriptor]) -> None:
        """Learn which blobs come next, before the first byte of them does.

        A sink that knows that it cannot take them raises its error now.
        """

    def put_blob(self, descriptor: Descriptor, open: Opener) -> str:
        """Take one blob, verified on the way; *open* may be called again after a fault.

        Returns how it came in: ``"done"``, ``"exists"`` or ``"mounted"``.  Idempotent: content
        that is there is not taken again.
        """

    def put_manifest(self, descriptor: Descriptor, raw: bytes, *, root: bool) -> None:
        """Take one manifest or index; *root* for the one that gets this sink's name."""
