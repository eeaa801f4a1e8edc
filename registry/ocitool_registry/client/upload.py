"""The push of one blob: not at all if it is there, by a mount if it is near, else in one body."""

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

#: An upload that the registry has forgotten, or that a broken attempt left half full: a new one
#: may do.
_STALE: Final = frozenset({404, 416})


def push_blob(
    client: RegistryClient,
    repository: str,
    descriptor: Descriptor,
    open: Opener,
    origins: Sequence[str] = (),
) -> str:
    """Make *descriptor* a blob of *repository*; returns ``"exists"``, ``"mounted"`` or ``"done"``.

    POST and then one PUT is what every registry takes; its body is opened anew for each attempt.

    Args:
        origins: repositories of the same registry that are thought to hold the blob.

    Raises:
        ResponseError: the registry does not take it; ``DIGEST_INVALID`` where it received other
            content than *descriptor* says.
        RegistryError: the registry cannot be reached, or lets us not in.
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
            if attempt >= client.retry.attempts or not _may_help(error):
                raise
        client.retry.wait(attempt)
        attempt += 1
        location = ""
        # The answer may have been lost, and not the blob.
        if has_blob(client, repository, descriptor.digest):
            return "done"


def has_blob(client: RegistryClient, repository: str, digest: Digest) -> bool:
    """Say whether *repository* holds a blob."""
    try:
        client.head_blob(repository, digest)
    except BlobNotFound:
        return False
    return True


def _mount(
    client: RegistryClient, repository: str, digest: Digest, origins: Sequence[str]
) -> tuple[bool, str]:
    """Return whether the blob was mounted, and else the upload that was begun, or ``""``."""
    for origin in origins:
        if origin == repository:
            continue
        try:
            location = client.mount(repository, digest, origin)
        except (AuthError, ResponseError):
            # Registries refuse mounts with 401, 403, 404, 405 and 500 where they only mean no.
            continue
        return location is None, location or ""
    return False, ""


def _may_help(error: RegistryError) -> bool:
    if isinstance(error, ResponseError):
        return error.retryable or error.status in _STALE
    return isinstance(error, TransportError)
