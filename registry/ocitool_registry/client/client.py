"""`RegistryClient`: a client of one registry, with a method for each endpoint.

Source: OCI distribution-spec v1.1, "Endpoints".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from ocitool.errors import BlobNotFound, DigestMismatch, ImageNotFound, RegistryError, ResponseError
from ocitool.oci import mediatypes
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import MANIFEST_LIMIT, Descriptor
from ocitool_registry import limits, protocol
from ocitool_registry.auth.authorizer import scope
from ocitool_registry.client.responses import (
    bounded,
    content_digest,
    content_length,
    json_object,
    media_type,
)
from ocitool_registry.client.session import Session
from ocitool_registry.transport.http import Body, Response
from ocitool_registry.transport.requests import RequestsTransport
from ocitool_registry.transport.retry import RetryPolicy
from ocitool_registry.transport.urls import resolve_location

if TYPE_CHECKING:
    from ocitool.oci.content import Opener
    from ocitool_registry.auth.keychain import CredentialSource
    from ocitool_registry.transport.requests import Transport

_ACCEPT: Final = ", ".join(mediatypes.ACCEPT)


class FetchedManifest(NamedTuple):
    """A manifest or index, with its descriptor."""

    descriptor: Descriptor
    raw: bytes


class RegistryClient:
    """A client of one registry; may be used from several threads.

    The first request detects whether the registry uses HTTPS, and how it authenticates.

    Args:
        host: the registry as in a reference, such as ``docker.io`` or ``localhost:5000``.
        transport: sends requests; default: `RequestsTransport`.
        credentials: the source of credentials; default: `keychain.default_source`.
        insecure: whether plain HTTP and untrusted certificates are accepted.
        retry: how often failed requests are repeated.
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
        """Check that the registry can be reached and accepts the credentials.

        Raises:
            AuthError: it denied the credentials.
            RegistryError: it cannot be reached.
        """
        self._session.send("GET", protocol.API, "", ()).close()

    def credential_origin(self, repository: str = "") -> str:
        """Return where the credentials for *repository* were found, or ``""``; no secrets."""
        found = self._session.credential(repository)
        return found.origin if found is not None else ""

    def repositories(self) -> Iterator[str]:
        """Yield the names of all repositories; not every registry supports this."""
        yield from self._pages(protocol.CATALOG, "", ("registry:catalog:*",), "repositories")

    def tags(self, repository: str) -> Iterator[str]:
        """Yield all tags of a repository; `ImageNotFound` if there is no such repository."""
        scopes = (scope(repository, "pull"),)
        yield from self._pages(protocol.tags_path(repository), repository, scopes, "tags")

    # -- manifests -------------------------------------------------------------------------

    def get_manifest(
        self, repository: str, target: Digest | str, *, limit: int = MANIFEST_LIMIT
    ) -> FetchedManifest:
        """Return a manifest or index; it is verified if *target* is a digest.

        At most *limit* bytes are read.

        Raises:
            ImageNotFound: the registry has no such manifest.
            DigestMismatch: the content has another digest.
        """
        with self._manifest("GET", repository, target) as response:
            raw = bounded(response, limit)
        digest = (
            target if isinstance(target, Digest) else content_digest(response) or Digest.of(raw)
        )
        got = Digest.of(raw, digest.algorithm)
        if got != digest:
            where = f"{self.host}/{repository}"
            raise DigestMismatch(str(digest), str(got), size=len(raw), where=where)
        descriptor = Descriptor(media_type=media_type(response), digest=digest, size=len(raw))
        return FetchedManifest(descriptor, raw)

    def head_manifest(self, repository: str, target: Digest | str) -> Descriptor:
        """Return the descriptor of a manifest; it is fetched only if a HEAD request is not enough.

        Raises:
            ImageNotFound: the registry has no such manifest.
        """
        try:
            response = self._manifest("HEAD", repository, target)
        except ResponseError:
            # The registry may not support HEAD, and a response to HEAD has no error message.
            return self.get_manifest(repository, target).descriptor
        response.close()
        digest = content_digest(response)
        size = content_length(response)
        if digest is None or size is None or (isinstance(target, Digest) and digest != target):
            return self.get_manifest(repository, target).descriptor
        return Descriptor(media_type=media_type(response), digest=digest, size=size)

    def put_manifest(
        self, repository: str, target: Digest | str, raw: bytes, media_type: str
    ) -> None:
        """Put a manifest under a tag or its digest.

        Raises:
            ResponseError: the registry rejected it.
            DigestMismatch: the registry stored other content.
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
        digest = content_digest(response)
        if digest is not None and digest != Digest.of(raw, digest.algorithm):
            raise DigestMismatch(
                str(Digest.of(raw, digest.algorithm)),
                str(digest),
                size=len(raw),
                where=f"{self.host}/{repository}",
            )

    def delete_manifest(self, repository: str, target: Digest | str) -> None:
        """Delete a tag, or a manifest by digest with all its tags; `ImageNotFound`."""
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
        """Return the size of a blob, ``None`` if the response does not contain it.

        Raises:
            BlobNotFound: the repository has no such blob.
        """
        response = self._blob("HEAD", repository, digest, {})
        response.close()
        return content_length(response)

    def get_blob(self, repository: str, digest: Digest, offset: int = 0) -> Response:
        """Return a blob, not verified, from *offset* on.

        The status is 206 for the range requested, and 200 for the whole blob, which a registry may
        send instead.  The caller closes the response.

        Raises:
            BlobNotFound: the repository has no such blob.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
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
        """Start an upload and return its URL."""
        with self._post(repository, protocol.uploads_path(repository), ()) as response:
            return self._location(response)

    def mount(self, repository: str, digest: Digest, origin: str) -> str | None:
        """Mount a blob from the repository *origin* of the same registry.

        Returns ``None`` if it was mounted, or the URL of the upload that the registry started
        instead.
        """
        path = protocol.uploads_path(repository) + f"?mount={digest}&from={quote(origin, safe='/')}"
        with self._post(repository, path, (scope(origin, "pull"),)) as response:
            return None if response.status == 201 else self._location(response)

    def put_upload(
        self, repository: str, location: str, digest: Digest, size: int, open: Opener
    ) -> None:
        """Send a whole blob to the URL of an upload and complete it.

        The request is not repeated, since the state of the upload is unknown after a failure.

        Raises:
            ResponseError: the registry rejected it; ``DIGEST_INVALID`` for other content.
            TransportError: the connection failed.
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
            raise RegistryError(f"missing Location in the response of {self.host} to an upload")
        return resolve_location(response.url, location)

    def _pages(
        self, path: str, repository: str, scopes: tuple[str, ...], name: str
    ) -> Iterator[str]:
        seen: set[str] = set()
        left = limits.LISTING
        while path and path not in seen:  # links of a registry may form a loop
            with self._session.send("GET", path, repository, scopes) as response:
                seen.update((path, response.url))
                body = bounded(response, min(left, limits.LISTING_PAGE))
                fields = json_object(response, body)
            left -= len(body)
            if len(seen) > 2 * limits.LISTING_PAGES:
                message = f"listing has more than {limits.LISTING_PAGES} pages"
                raise RegistryError(message, where=f"{self.host}/{repository}")
            yield from (str(entry) for entry in fields.get(name) or ())
            # The link is used unchanged: it may contain a cursor in any format.
            link = protocol.next_link(response.headers.get("Link", "")[: limits.FIELD])
            path = resolve_location(response.url, link) if link else ""
