"""The storage of the server: the `Backend` Protocol, its values and its errors.

The server handles HTTP, a backend stores content; `memory_backend.MemoryBackend` is one that
stores everything in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ocitool.errors import NotFound, RegistryError
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest


class RepositoryNotFound(NotFound):
    """There is no repository with this name: nothing was ever pushed to it."""


class UploadNotFound(NotFound):
    """There is no such upload in the repository; it may be complete, cancelled or expired."""


class UploadConflict(RegistryError):
    """The offset is not the end of the upload, or another request is writing to it.

    ``size`` is the number of bytes of the upload, which is the next offset.
    """

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class TooManyUploads(RegistryError):
    """The maximum number of uploads is reached; the client may retry later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest as it was pushed: the exact bytes, their digest, and the media type."""

    digest: Digest
    media_type: str  # without parameters
    raw: bytes = field(repr=False)


class Backend(Protocol):
    """Stores the blobs, manifests and tags of all repositories.

    The caller has checked repository names and tags against the grammar of the spec.  Methods may
    be called from several threads; they may raise `OcitoolError`, and never ``OSError``.  Changes
    are durable when a method returns, and atomic if the process is killed before.  A repository
    exists once something was pushed to it.

    A blob belongs to the repositories to which it was pushed or mounted: `BlobNotFound` is raised
    for a blob that only another repository has.  Source: OCI distribution-spec v1.1.
    """

    # -- blobs -----------------------------------------------------------------------------

    def blob_size(self, repository: str, digest: Digest) -> int:
        """Return the size of a blob in bytes; `BlobNotFound`."""

    def open_blob(self, repository: str, digest: Digest, offset: int = 0) -> Stream:
        """Return the bytes of a blob from *offset* on; `BlobNotFound`.

        0 <= *offset* <= size.  The caller closes the stream, which stays readable after a delete.
        """

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Remove a blob from *repository* only; `BlobNotFound`."""

    def mount_blob(self, repository: str, digest: Digest, origin: str) -> bool:
        """Add a blob of the repository *origin* to *repository*, without copying.

        *origin* ``""`` stands for any repository.  Returns whether the blob was found.
        """

    # -- uploads ---------------------------------------------------------------------------

    def begin_upload(self, repository: str, algorithm: str = "sha256") -> str:
        """Start an empty upload and return its id: unguessable, of letters, digits, ``-``, ``_``.

        *algorithm* is the expected digest algorithm, so that the hash can be computed during the
        upload.  A digest of another algorithm is accepted, but the content is read again for it.

        An idle upload must not use a file descriptor.  It may expire after some time, as if it had
        been cancelled.

        Raises:
            TooManyUploads: the maximum number of uploads is reached.
        """

    def upload_size(self, repository: str, upload: str) -> int:
        """Return the number of bytes of an upload; `UploadNotFound`."""

    def append_upload(
        self, repository: str, upload: str, data: Stream, *, offset: int | None = None
    ) -> int:
        """Append all of *data* and return the number of bytes of the upload.

        *offset*, if given, must be the end of the upload.  If reading *data* raises, the bytes
        before are kept, the upload stays usable, and the error is raised unchanged.

        Raises:
            UploadNotFound: there is no such upload.
            UploadConflict: it does not end at *offset*, or another call is appending to it;
                *data* was not read.
        """

    def commit_upload(self, repository: str, upload: str, digest: Digest) -> int:
        """Complete an upload as the blob *digest*; returns the size of the blob in bytes.

        It is no error if the blob exists.

        Raises:
            UploadNotFound: there is no such upload.
            UploadConflict: another call is appending to it; the upload stays.
            DigestMismatch: the content has another digest; the upload is removed.
        """

    def cancel_upload(self, repository: str, upload: str) -> None:
        """Remove an upload and its bytes; `UploadNotFound`."""

    # -- manifests and tags ----------------------------------------------------------------

    def put_manifest(
        self, repository: str, manifest: StoredManifest, tags: Sequence[str] = ()
    ) -> None:
        """Store *manifest*, which the caller has verified, and set all *tags* to it atomically."""

    def get_manifest(self, repository: str, target: Digest | str) -> StoredManifest:
        """Return a manifest by its digest or by a tag (a ``str``); `ImageNotFound`."""

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Remove a manifest and all its tags; `ImageNotFound`."""

    def delete_tag(self, repository: str, tag: str) -> None:
        """Remove a tag, but not its manifest; `ImageNotFound`."""

    def tags(self, repository: str) -> Sequence[str]:
        """Return all tags in ASCII order; `RepositoryNotFound`."""

    def repositories(self) -> Sequence[str]:
        """Return the names of all repositories in ASCII order."""
