"""Where the server keeps things: the `Backend` Protocol and the values that cross it.

The server knows HTTP and no storage; a backend knows storage and no HTTP.  A fake that keeps all
in memory is `ocitool_registry.server.memory.MemoryBackend`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ocitool.errors import NotFound, RegistryError
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest


class RepositoryNotFound(NotFound):
    """No repository of this name: nothing was ever put into it."""


class UploadNotFound(NotFound):
    """No upload of this id in this repository; it may be finished, cancelled or expired."""


class UploadConflict(RegistryError):
    """Bytes were offered for another place than the end of an upload, or it is being written.

    ``size`` is the number of bytes the upload holds: where the next ones belong.
    """

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class TooManyUploads(RegistryError):
    """As many uploads are under way as a backend keeps; it takes others later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest as it was put: the exact bytes, their address, and the type they came with."""

    digest: Digest
    media_type: str  # without parameters
    raw: bytes = field(repr=False)


class Backend(Protocol):
    """Keeps the blobs, manifests and tags of all repositories.

    Repository names and tags arrive checked against the spec's grammar; digests are values.
    Every method may be called from several threads at once, may raise `OcitoolError`, and lets no
    bare ``OSError`` out.  What a method has returned from survives a crash; what was cut off in
    the middle shows either wholly or not at all.  A repository comes into being with the first
    thing put into it.

    A blob belongs to the repositories it was pushed to or mounted into: one that only another
    repository holds is `BlobNotFound` here.  Source: OCI distribution-spec v1.1.
    """

    # -- blobs -----------------------------------------------------------------------------

    def blob_size(self, repository: str, digest: Digest) -> int:
        """Return the size of a blob in bytes; `BlobNotFound`."""

    def open_blob(self, repository: str, digest: Digest, offset: int = 0) -> Stream:
        """Return the bytes of a blob from *offset* on; `BlobNotFound`.

        0 <= *offset* <= size.  The caller closes it; a delete meanwhile does not disturb it.
        """

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Take a blob out of *repository*, and of no other; `BlobNotFound`."""

    def mount_blob(self, repository: str, digest: Digest, origin: str) -> bool:
        """Make a blob of the repository *origin* one of *repository* too, without copying.

        *origin* ``""`` means any repository.  Returns whether it is there now; a blob that no
        such repository holds is no error.
        """

    # -- uploads ---------------------------------------------------------------------------

    def begin_upload(self, repository: str, algorithm: str = "sha256") -> str:
        """Begin an empty upload and return its id: unguessable, of letters, digits, ``-``, ``_``.

        *algorithm* is that of the digest which is expected at the end, so that the hash can run
        along; a digest of another algorithm is still taken, at the cost of a second reading.

        An upload that waits for its next bytes costs no descriptor.  One that nobody goes on with
        may be given up after a while, as if it had been cancelled.

        Raises:
            TooManyUploads: no more are taken now.
        """

    def upload_size(self, repository: str, upload: str) -> int:
        """Return the number of bytes an upload holds; `UploadNotFound`."""

    def append_upload(
        self, repository: str, upload: str, data: Stream, *, offset: int | None = None
    ) -> int:
        """Append all of *data* and return the number of bytes the upload holds now.

        *offset*, when given, must be where the upload ends.  If reading *data* raises, the bytes
        that came before are kept, the upload stays usable, and the error goes on unchanged.

        Raises:
            UploadNotFound: there is no such upload.
            UploadConflict: it does not end at *offset*, or another call is appending to it.
                Nothing of *data* was read.
        """

    def commit_upload(self, repository: str, upload: str, digest: Digest) -> int:
        """Make an upload the blob *digest* and end it; returns the blob's size in bytes.

        A blob that is there already is success.

        Raises:
            UploadNotFound: there is no such upload.
            UploadConflict: another call is appending to it; the upload stays.
            DigestMismatch: it holds other content; nothing is published, the upload is gone.
        """

    def cancel_upload(self, repository: str, upload: str) -> None:
        """Drop an upload and its bytes; `UploadNotFound`."""

    # -- manifests and tags ----------------------------------------------------------------

    def put_manifest(
        self, repository: str, manifest: StoredManifest, tags: Sequence[str] = ()
    ) -> None:
        """Keep *manifest*, whose bytes are proved, and point all of *tags* at it at once."""

    def get_manifest(self, repository: str, target: Digest | str) -> StoredManifest:
        """Return a manifest by its digest or by a tag (a ``str``); `ImageNotFound`."""

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Remove a manifest and every tag that points at it; `ImageNotFound`."""

    def delete_tag(self, repository: str, tag: str) -> None:
        """Remove a tag and leave its manifest; `ImageNotFound`."""

    def tags(self, repository: str) -> Sequence[str]:
        """Return all tags in ASCII order; `RepositoryNotFound`."""

    def repositories(self) -> Sequence[str]:
        """Return the names of all repositories in ASCII order."""
