"""`RegistryClient`: one registry, one method an endpoint.

Source: OCI distribution-spec v1.1, "Endpoints".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ocitool.errors import BlobNotFound, DigestMismatch, ImageNotFound, RegistryError, ResponseError
from ocitool.oci import mediatypes
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import MANIFEST_LIMIT, Descriptor
from ocitool_registry import limits, protocol
from ocitool_registry.auth.authorizer import scope
from ocitool_registry.client.responses import (
    bounded,
    json_object,
    media_type,
    said_digest,
    said_length,
)
from ocitool_registry.client.session import Session
from ocitool_registry.transport.http import Body, Response
from ocitool_registry.transport.requests import RequestsTransport
from ocitool_registry.transport.retry import RetryPolicy
from ocitool_registry.transport.urls import follow

if TYPE_CHECKING:
    from ocitool.oci.content import Opener
    from ocitool_registry.auth.keychain import CredentialSource
    from ocitool_registry.transport.requests import Transport

_ACCEPT: Final = ", ".join(mediatypes.ACCEPT)


class RegistryClient:
    """Speaks to one registry; may be used from several threads.

    The first request finds out how the registry is to be reached and who it wants us to be.

    Args:
        host: the registry as references name it, as ``docker.io`` or ``localhost:5000``.
        transport: sends one request; default: `RequestsTransport`.
        credentials: who we are; default: the look-up order of `credentials.default_source`.
        insecure: whether plain HTTP and certificates that nobody vouches for will do.
        retry: how often to try again.
    """

    def __init__(
        self,
        host: str,
        *,
        transport: Transport | None = None,
        credentials: CredentialSource | None = None,
        insecure: bool = False,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.host = host
        self.retry = retry or RetryPolicy()
        self._session = Session(
            host,
            transport or RequestsTransport(verify=not insecure),
            credentials=credentials,
            insecure=insecure,
            retry=self.retry,
        )

    # -- the registry itself ---------------------------------------------------------------

    def ping(self) -> None:
        """Prove that the registry is there and accepts who we are.

        Raises:
            AuthError: it wants other credentials.
        """
        self._session.send("GET", protocol.API, "", ()).close()

    def credential_origin(self, repository: str = "") -> str:
        """Say where the credentials for *repository* come from, or ``""``; nothing secret."""
        found = self._session.identity(repository)
        return found.origin if found is not None else ""

    def repositories(self) -> Iterator[str]:
        """Yield the names of all repositories; not every registry tells."""
        yield from self._pages(protocol.CATALOG, "", ("registry:catalog:*",), "repositories")

    def tags(self, repository: str) -> Iterator[str]:
        """Yield all tags of a repository; `ImageNotFound` if there is no such repository."""
        scopes = (scope(repository, "pull"),)
        yield from self._pages(protocol.tags_path(repository), repository, scopes, "tags")

    # -- manifests -------------------------------------------------------------------------

    def get_manifest(
        self, repository: str, target: Digest | str, *, limit: int = MANIFEST_LIMIT
    ) -> tuple[Descriptor, bytes]:
        """Return a manifest or index, proved against its digest where *target* is one.

        No more than *limit* bytes are read.

        Raises:
            ImageNotFound: it is not there.
            DigestMismatch: other content came.
        """
        with self._manifest("GET", repository, target) as response:
            raw = bounded(response, limit)
        digest = target if isinstance(target, Digest) else said_digest(response) or Digest.of(raw)
        got = Digest.of(raw, digest.algorithm)
        if got != digest:
            where = f"{self.host}/{repository}"
            raise DigestMismatch(str(digest), str(got), size=len(raw), where=where)
        return Descriptor(media_type=media_type(response), digest=digest, size=len(raw)), raw

    def head_manifest(self, repository: str, target: Digest | str) -> Descriptor:
        """Return the descriptor of a manifest without fetching it, if the registry tells it.

        Raises:
            ImageNotFound: it is not there.
        """
        try:
            response = self._manifest("HEAD", repository, target)
        except ResponseError:
            # A registry that does not do HEAD; and an answer to HEAD has no text to show.
            return self.get_manifest(repository, target)[0]
        response.close()
        said = said_digest(response)
        size = said_length(response)
        if said is None or size is None or (isinstance(target, Digest) and said != target):
            return self.get_manifest(repository, target)[0]
        return Descriptor(media_type=media_type(response), digest=said, size=size)

    def put_manifest(
        self, repository: str, target: Digest | str, raw: bytes, media_type: str
    ) -> None:
        """Put a manifest under a tag or its digest.

        Raises:
            ResponseError: the registry does not take it, or took other content for it.
        """
        response = self._session.send(
            "PUT",
            protocol.manifest_path(repository, target),
            repository,
            (scope(repository, "pull", "push"),),
            headers={"Content-Type": media_type},
            body=raw,
        )
        response.close()
        said = said_digest(response)
        if said is not None and said != Digest.of(raw, said.algorithm):
            raise DigestMismatch(
                str(Digest.of(raw, said.algorithm)),
                str(said),
                size=len(raw),
                where=f"{self.host}/{repository}",
            )

    def delete_manifest(self, repository: str, target: Digest | str) -> None:
        """Delete a tag, or by digest a manifest and all its tags; `ImageNotFound`."""
        path = protocol.manifest_path(repository, target)
        scopes = (scope(repository, "pull", "delete"),)
        self._session.send("DELETE", path, repository, scopes, missing=ImageNotFound).close()

    def _manifest(self, method: str, repository: str, target: Digest | str) -> Response:
        return self._session.send(
            method,
            protocol.manifest_path(repository, target),
            repository,
            (scope(repository, "pull"),),
            headers={"Accept": _ACCEPT},
            missing=ImageNotFound,
        )

    # -- blobs -----------------------------------------------------------------------------

    def head_blob(self, repository: str, digest: Digest) -> int | None:
        """Return the size of a blob, ``None`` if the registry keeps it to itself.

        Raises:
            BlobNotFound: it is not there.
        """
        response = self._blob("HEAD", repository, digest, {})
        response.close()
        return said_length(response)

    def get_blob(
        self, repository: str, digest: Digest, offset: int = 0, *, length: int | None = None
    ) -> Response:
        """Return a blob, not proved, from *offset* on and at most *length* bytes.

        The status tells what came: 206 for the part that was asked for, 200 for the whole, which a
        registry may send instead.  The caller closes the response.

        Raises:
            BlobNotFound: it is not there.
        """
        headers = {}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            headers["Range"] = f"bytes={offset}-{last}"
        return self._blob("GET", repository, digest, headers)

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Delete a blob from a repository; `BlobNotFound`."""
        path = protocol.blob_path(repository, digest)
        scopes = (scope(repository, "pull", "delete"),)
        self._session.send("DELETE", path, repository, scopes, missing=BlobNotFound).close()

    def _blob(
        self, method: str, repository: str, digest: Digest, headers: Mapping[str, str]
    ) -> Response:
        return self._session.send(
            method,
            protocol.blob_path(repository, digest),
            repository,
            (scope(repository, "pull"),),
            headers=headers,
            missing=BlobNotFound,
        )

    # -- uploads ---------------------------------------------------------------------------

    def start_upload(self, repository: str) -> str:
        """Begin an upload and return the address to put the blob to."""
        with self._post(repository, protocol.uploads_path(repository), ()) as response:
            return self._location(response)

    def mount(self, repository: str, digest: Digest, origin: str) -> str | None:
        """Take a blob over from the repository *origin* of this registry.

        Returns ``None`` when it is there now, else the address of the upload that the registry
        began instead.
        """
        path = protocol.uploads_path(repository) + f"?mount={digest}&from={quote(origin, safe='/')}"
        with self._post(repository, path, (scope(origin, "pull"),)) as response:
            return None if response.status == 201 else self._location(response)

    def put_upload(
        self, repository: str, location: str, digest: Digest, size: int, open: Opener
    ) -> None:
        """Put a whole blob to the address of an upload, which ends it.

        It is sent once only, since nobody knows what a broken attempt leaves of the upload.

        Raises:
            ResponseError: the registry does not take it; ``DIGEST_INVALID`` for other content.
            TransportError: the connection broke.
        """
        response = self._session.send(
            "PUT",
            protocol.with_query(location, digest=str(digest)),
            repository,
            (scope(repository, "pull", "push"),),
            headers={"Content-Type": "application/octet-stream"},
            body=Body(open=open, size=size),
            repeatable=False,
        )
        response.close()

    def _post(self, repository: str, path: str, scopes: tuple[str, ...]) -> Response:
        own = scope(repository, "pull", "push")
        return self._session.send("POST", path, repository, (own, *scopes))

    def _location(self, response: Response) -> str:
        location = response.headers.get("Location", "")
        if not location:
            raise RegistryError(f"{self.host} began an upload and does not say where")
        return follow(response.url, location)

    def _pages(
        self, path: str, repository: str, scopes: tuple[str, ...], name: str
    ) -> Iterator[str]:
        seen: set[str] = set()
        left = limits.LISTING
        while path and path not in seen:  # a registry that links in a circle must not hold us
            with self._session.send("GET", path, repository, scopes) as response:
                seen.update((path, response.url))
                body = bounded(response, min(left, limits.LISTING_PAGE))
                fields = json_object(response, body)
            left -= len(body)
            if len(seen) > 2 * limits.LISTING_PAGES:
                message = f"the listing has more than {limits.LISTING_PAGES} pages"
                raise RegistryError(message, where=f"{self.host}/{repository}")
            yield from (str(entry) for entry in fields.get(name) or ())
            # The link is followed as it stands: cursors are the registry's own business.
            link = protocol.next_link(response.headers.get("Link", "")[: limits.FIELD])
            path = follow(response.url, link) if link else ""
