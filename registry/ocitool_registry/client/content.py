"""A repository as source and sink of content, as `ocitool.image.copy` wants them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from ocitool.errors import BadReference, DigestMismatch, ImageNotFound
from ocitool.oci import limits, mediatypes
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.reference import Reference
from ocitool.oci.streams import VerifiedReader
from ocitool_registry.auth.keychain import Noted, default_source
from ocitool_registry.client.client import RegistryClient
from ocitool_registry.client.download import ResumingStream
from ocitool_registry.client.upload import has_blob, push_blob

if TYPE_CHECKING:
    from ocitool.oci.content import Opener, Stream

_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_DOCUMENTS: Final = mediatypes.MANIFESTS | mediatypes.INDEXES


def connect(
    host_or_reference: str | Reference,
    *,
    insecure: bool = False,
    authfile: str | None = None,
    note: Callable[[str], object] | None = None,
) -> RegistryClient:
    """Return a client of a registry, or of the one that a reference names.  Sends nothing yet.

    Args:
        host_or_reference: a reference, or as text without a slash a host: ``docker.io``,
            ``localhost:5000``, ``ghcr.io/org/image:tag``.
        insecure: whether plain HTTP and certificates that nobody vouches for will do.
        authfile: the one file that credentials are taken from.
        note: is told, where credentials are needed, which source gave them.

    Raises:
        BadReference: it is neither.
        RegistryError: *authfile* is not there.
    """
    if isinstance(host_or_reference, Reference):
        host = host_or_reference.domain
    elif "/" in host_or_reference:
        host = Reference.parse(host_or_reference).domain
    elif _HOST.fullmatch(host_or_reference):
        host = host_or_reference
    else:
        raise BadReference(f"{host_or_reference!r} is not a registry's name")
    source = default_source(authfile)
    credentials = source if note is None else Noted(source, note)
    return RegistryClient(host, credentials=credentials, insecure=insecure)


class RegistrySource:
    """An image in a registry as a `ContentSource`."""

    def __init__(self, client: RegistryClient, reference: Reference) -> None:
        self._client = client
        self._reference = reference

    def resolve(self) -> Descriptor:
        """Return the descriptor of what the reference names; `ImageNotFound`."""
        target = self._reference.digest or self._reference.tag
        try:
            return self._client.head_manifest(self._reference.path, target)
        except ImageNotFound as error:
            raise ImageNotFound(f"the registry has no image {self._reference}") from error

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return a manifest, index or config whole and proved, at most 4 MiB.

        Raises:
            NotFound: it is not there.
            DigestMismatch: it is not what *descriptor* says.
        """
        if descriptor.data is not None:
            return descriptor.data
        if descriptor.media_type in _DOCUMENTS:
            limits.require_document(descriptor, self._reference.repository)
            _, raw = self._client.get_manifest(
                self._reference.path, descriptor.digest, limit=descriptor.size
            )
            if len(raw) != descriptor.size:
                raise DigestMismatch(
                    str(descriptor.digest),
                    f"another size than {descriptor.size}",
                    size=len(raw),
                    where=self._reference.repository,
                )
            return raw
        return self._document(descriptor)

    def open(self, descriptor: Descriptor) -> Stream:
        """Return a blob as a stream that proves it, and that goes on after a broken connection.

        Raises:
            BlobNotFound: it is not there.
        """
        stream = ResumingStream(self._client, self._reference.path, descriptor)
        return VerifiedReader(
            cast("BinaryIO", stream),  # of which it uses read and close
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


def _nowhere(digest: Digest) -> Sequence[str]:
    return ()


class RegistrySink:
    """A repository, with the name an image gets in it, as a `ContentSink`.

    Args:
        origins: names the repositories of the same registry that are known to hold a blob, which
            is then mounted from there.
    """

    def __init__(
        self,
        client: RegistryClient,
        reference: Reference,
        *,
        origins: Callable[[Digest], Sequence[str]] = _nowhere,
    ) -> None:
        self._client = client
        self._reference = reference
        self._origins = origins

    def has(self, descriptor: Descriptor) -> bool:
        """Say whether the repository holds the content."""
        if descriptor.media_type not in _DOCUMENTS:
            return has_blob(self._client, self._reference.path, descriptor.digest)
        try:
            self._client.head_manifest(self._reference.path, descriptor.digest)
        except ImageNotFound:
            return False
        return True

    def expect(self, descriptors: Sequence[Descriptor]) -> None:
        """Do nothing: a registry tells nobody how much room it has."""

    def put_blob(self, descriptor: Descriptor, open: Opener) -> str:
        """Take one blob; returns ``"done"``, ``"exists"`` or ``"mounted"``.

        The registry proves it, from the digest it is told at the end.
        """
        origins = self._origins(descriptor.digest)
        return push_blob(self._client, self._reference.path, descriptor, open, origins)

    def put_manifest(self, descriptor: Descriptor, raw: bytes, *, root: bool) -> None:
        """Take a manifest or index: by its digest, the *root* under the reference's tag."""
        tag = self._reference.tag if root else ""
        target = tag or descriptor.digest
        self._client.put_manifest(self._reference.path, target, raw, descriptor.media_type)
