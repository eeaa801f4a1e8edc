"""The two protocols of content that registry, store and archives have in common: source and sink.

With them `ocitool.image.copy` is written once.  Implementations may be called from several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ocitool.oci.manifest import Descriptor


class Stream(Protocol):
    """A readable stream; the one who opened it closes it."""

    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


Opener = Callable[[], Stream]
"""Opens the same content from its start, as often as a retry needs it."""


class ContentSource(Protocol):
    """Gives manifests and blobs."""

    def resolve(self) -> Descriptor:
        """Return the manifest or index that this source stands for; `NotFound` if it is missing."""

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return a verified document (manifest, index, config) of at most 4 MiB.

        Raises:
            DigestMismatch: it is not what *descriptor* says.
            NotFound: it does not exist.
        """

    def open(self, descriptor: Descriptor) -> Stream:
        """Return a blob as a stream that verifies it.

        Wrong content raises `DigestMismatch` while it is read, at the latest at its end.
        """


class ContentSink(Protocol):
    """Takes manifests and blobs, children before parents."""

    def has(self, descriptor: Descriptor) -> bool:
        """Say whether the sink has the content already."""

    def expect(self, descriptors: Sequence[Descriptor]) -> None:
        """Prepare for these blobs, before the first of them is sent.

        A sink that cannot take them raises its error now.
        """

    def put_blob(self, descriptor: Descriptor, open: Opener) -> str:
        """Take one blob and verify it; *open* may be called again after a failure.

        Returns ``"done"``, ``"exists"`` or ``"mounted"``.  Idempotent: a blob that the sink has is
        not taken again.
        """

    def put_manifest(self, descriptor: Descriptor, raw: bytes, *, root: bool) -> None:
        """Take one manifest or index; *root* for the one that gets this sink's name."""
