"""A repository as `ContentSource` and `ContentSink`, for `ocitool.image.copy`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from ocitool.errors import BadReference, DigestMismatch, ImageNotFound
from ocitool.oci import limits, mediatypes
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, parse_any
from ocitool.oci.reference import Reference
from ocitool.oci.streams import VerifiedReader
from ocitool_registry.access import Access
from ocitool_registry.auth.credential import Credential
from ocitool_registry.auth.keychain import Fixed, Logged, default_source
from ocitool_registry.client.client import RegistryClient
from ocitool_registry.client.download import ResumingStream
from ocitool_registry.client.upload import has_blob, push_blob
from ocitool_registry.transport.requests import RequestsTransport
from ocitool_registry.transport.retry import RetryPolicy
from ocitool_registry.transport.trusted import directory

if TYPE_CHECKING:
    from ocitool.oci.content import Opener, Stream
    from ocitool_registry.auth.keychain import CredentialSource

_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_DOCUMENTS: Final = mediatypes.MANIFESTS | mediatypes.INDEXES
_KNOWN: Final = _DOCUMENTS | mediatypes.DOCKER_SCHEMA1


def connect(
    host_or_reference: str | Reference,
    *,
    insecure: bool = False,
    authfile: str | None = None,
    access: Access | None = None,
    log: Callable[[str], object] | None = None,
    warn: Callable[[str], object] | None = None,
) -> RegistryClient:
    """Return a client of a registry, or of the registry in a reference.  Sends no request yet.

    Args:
        host_or_reference: a reference, or a host, which is text without a slash: ``docker.io``,
            ``localhost:5000``, ``ghcr.io/org/image:tag``.
        insecure: whether plain HTTP and untrusted certificates are accepted.
        authfile: the only authentication file to use.
        access: all that there is of these, and more; then the two before do not count.
        log: receives a message about where the credentials were found.
        warn: receives a message if a credential helper failed.

    Raises:
        BadReference: *host_or_reference* is invalid.
        RegistryError: the authentication file, or the directory of certificates, is missing.
    """
    access = access or Access(insecure=insecure, authfile=authfile or "")
    if isinstance(host_or_reference, Reference):
        host = host_or_reference.domain
    elif "/" in host_or_reference:
        host = Reference.parse(host_or_reference).domain
    elif _HOST.fullmatch(host_or_reference):
        host = host_or_reference
    else:
        raise BadReference(f"invalid registry name {host_or_reference!r}")
    source = _credentials(access, warn)
    insecure = access.insecure or host in access.insecure_hosts
    certificates = (access.cert_dir or directory(host), access.certificates.get(host, ""))
    return RegistryClient(
        host,
        transport=RequestsTransport(
            verify=not insecure, certificates=tuple(filter(None, certificates))
        ),
        credentials=source if log is None else Logged(source, log),
        insecure=insecure,
        retry=_retry(access),
    )


def _credentials(access: Access, warn: Callable[[str], object] | None) -> CredentialSource:
    if not access.creds:
        return default_source(access.authfile or None, warn=warn)
    username, _, password = access.creds.partition(":")
    return Fixed(Credential(username=username, password=password, origin="the command"))


def _retry(access: Access) -> RetryPolicy:
    retry = RetryPolicy()
    if access.retries is not None:
        attempts = access.retries + 1
        retry = replace(retry, attempts=attempts, connect_attempts=attempts)
    if (delay := access.retry_delay) is not None:
        retry = replace(retry, first=delay, longest=delay, spread=0.0)
    return retry


class RegistrySource:
    """An image in a registry as a `ContentSource`."""

    def __init__(self, client: RegistryClient, reference: Reference) -> None:
        self._client = client
        self._reference = reference

    def resolve(self) -> Descriptor:
        """Return the descriptor of the image or index; `ImageNotFound`.

        Static file servers send manifests as ``text/plain``: then the content says what it is.
        """
        path, target = self._reference.path, self._reference.digest or self._reference.tag
        try:
            found = self._client.head_manifest(path, target)
            if found.media_type in _KNOWN:
                return found
            fetched = self._client.get_manifest(path, target)
            return replace(fetched.descriptor, media_type=parse_any(fetched.raw).media_type)
        except ImageNotFound as error:
            raise ImageNotFound(f"image not found in the registry: {self._reference}") from error

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return a whole manifest, index or config, verified; at most 4 MiB.

        Raises:
            NotFound: the repository does not have it.
            DigestMismatch: digest or size differ from *descriptor*.
        """
        if descriptor.data is not None:
            return descriptor.data
        if descriptor.media_type in _DOCUMENTS:
            limits.require_document(descriptor, self._reference.repository)
            raw = self._client.get_manifest(
                self._reference.path, descriptor.digest, limit=descriptor.size
            ).raw
            if len(raw) != descriptor.size:
                raise DigestMismatch(
                    str(descriptor.digest),
                    f"a size other than {descriptor.size}",
                    size=len(raw),
                    where=self._reference.repository,
                )
            return raw
        return self._document(descriptor)

    def open(self, descriptor: Descriptor) -> Stream:
        """Return a blob as a verified stream, which is resumed if the connection fails.

        Raises:
            BlobNotFound: the repository has no such blob.
        """
        stream = ResumingStream(self._client, self._reference.path, descriptor)
        return VerifiedReader(
            cast("BinaryIO", stream),  # only read and close are used
            descriptor.digest,
            descriptor.size,
            where=f"{self._reference.repository}@{descriptor.digest}",
        )

    def _document(self, descriptor: Descriptor) -> bytes:
        limits.require_config(descriptor, self._reference.repository)
        stream = self.open(descriptor)
        try:
            parts = []
            while part := stream.read(limits.CONFIG):
                parts.append(part)
            return b"".join(parts)
        finally:
            stream.close()


def _no_origins(digest: Digest) -> Sequence[str]:
    return ()


class RegistrySink:
    """A repository and the name of an image in it, as a `ContentSink`.

    Args:
        origins: returns repositories of the same registry that have a blob; it is mounted from
            there if possible.
    """

    def __init__(
        self,
        client: RegistryClient,
        reference: Reference,
        *,
        origins: Callable[[Digest], Sequence[str]] = _no_origins,
    ) -> None:
        self._client = client
        self._reference = reference
        self._origins = origins

    def has(self, descriptor: Descriptor) -> bool:
        """Return whether the repository has the content."""
        if descriptor.media_type not in _DOCUMENTS:
            return has_blob(self._client, self._reference.path, descriptor.digest)
        try:
            self._client.head_manifest(self._reference.path, descriptor.digest)
        except ImageNotFound:
            return False
        return True

    def expect(self, descriptors: Sequence[Descriptor]) -> None:
        """Do nothing: the protocol has no way to ask a registry for its free space."""

    def put_blob(self, descriptor: Descriptor, open: Opener) -> str:
        """Push one blob; returns ``"done"``, ``"exists"`` or ``"mounted"``.

        The registry verifies it with the digest sent at the end.
        """
        origins = self._origins(descriptor.digest)
        return push_blob(self._client, self._reference.path, descriptor, open, origins)

    def put_manifest(self, descriptor: Descriptor, raw: bytes, *, root: bool) -> None:
        """Push a manifest or index by its digest, the *root* by the tag of the reference."""
        tag = self._reference.tag if root else ""
        target = tag or descriptor.digest
        self._client.put_manifest(self._reference.path, target, raw, descriptor.media_type)
