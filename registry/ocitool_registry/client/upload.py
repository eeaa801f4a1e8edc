"""The push of one blob: skipped if it exists, mounted if possible, otherwise uploaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ocitool.errors import (
    AuthError,
    BlobNotFound,
    RegistryError,
    ResponseError,
    TransportError,
)

if TYPE_CHECKING:
    from ocitool.oci.content import Opener
    from ocitool.oci.digest import Digest
    from ocitool.oci.manifest import Descriptor
    from ocitool_registry.client.client import RegistryClient

#: The upload has expired, or a failed attempt has left a part of the blob in it: a new upload may
#: succeed.
_STALE: Final = frozenset({404, 416})


def push_blob(
    client: RegistryClient,
    repository: str,
    descriptor: Descriptor,
    open: Opener,
    origins: Sequence[str],
) -> str:
    """Push a blob to *repository*; returns ``"exists"``, ``"mounted"`` or ``"done"``.

    It is sent with POST and one PUT, which every registry supports; *open* is called again for each
    attempt.

    Args:
        origins: repositories of the same registry that probably have the blob.

    Raises:
        ResponseError: the registry rejected it; ``DIGEST_INVALID`` if the content does not match
            *descriptor*.
        RegistryError: the registry cannot be reached, or denied access.
    """
    if has_blob(client, repository, descriptor.digest):
        return "exists"
    mounted, location = _mount(client, repository, descriptor.digest, origins)
    if mounted:
        return "mounted"
    attempt = 1
    while True:
        try:
            location = location or client.start_upload(repository)
            client.put_upload(repository, location, descriptor.digest, descriptor.size, open)
            return "done"
        except (TransportError, ResponseError) as error:
            if attempt >= client.retry.attempts or not _is_retryable(error):
                raise
        client.retry.wait(attempt)
        attempt += 1
        location = ""
        # The upload may have succeeded although its response was lost.
        if has_blob(client, repository, descriptor.digest):
            return "done"


def has_blob(client: RegistryClient, repository: str, digest: Digest) -> bool:
    """Return whether *repository* has a blob."""
    try:
        client.head_blob(repository, digest)
    except BlobNotFound:
        return False
    return True


def _mount(
    client: RegistryClient, repository: str, digest: Digest, origins: Sequence[str]
) -> tuple[bool, str]:
    """Return whether the blob was mounted, and if not the URL of a started upload, or ``""``."""
    for origin in origins:
        if origin == repository:
            continue
        try:
            location = client.mount(repository, digest, origin)
        except (AuthError, ResponseError):
            # Registries that cannot mount respond with 401, 403, 404, 405 or 500.
            continue
        return location is None, location or ""
    return False, ""


def _is_retryable(error: RegistryError) -> bool:
    if isinstance(error, ResponseError):
        return error.retryable or error.status in _STALE
    return isinstance(error, TransportError)
