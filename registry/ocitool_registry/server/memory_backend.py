"""A registry's storage in memory, for tests and temporary registries."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ocitool.errors import BlobNotFound, DigestMismatch, ImageNotFound
from ocitool.oci.digest import Digest
from ocitool_registry.server.backend import RepositoryNotFound, StoredManifest, UploadConflict
from ocitool_registry.server.upload_sessions import UploadSessions

if TYPE_CHECKING:
    from ocitool.oci.content import Stream

_CHUNK: Final = 1024 * 1024  # bytes read at once


@dataclass(slots=True)
class _Upload:
    data: bytearray = field(default_factory=bytearray)

    @property
    def size(self) -> int:
        return len(self.data)


@dataclass(slots=True)
class _Repository:
    blobs: set[Digest] = field(default_factory=set)
    manifests: dict[Digest, StoredManifest] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)


class MemoryBackend:
    """A `Backend` that stores everything in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._content: dict[Digest, bytes] = {}
        self._repositories: dict[str, _Repository] = {}
        self._uploads: UploadSessions[_Upload] = UploadSessions(lambda upload: upload.data.clear())

    # -- blobs -----------------------------------------------------------------------------

    def blob_size(self, repository: str, digest: Digest) -> int:
        return len(self._blob(repository, digest))

    def open_blob(self, repository: str, digest: Digest, offset: int = 0) -> Stream:
        stream = io.BytesIO(self._blob(repository, digest))  # no copy
        stream.seek(offset)
        return stream

    def delete_blob(self, repository: str, digest: Digest) -> None:
        with self._lock:
            found = self._repositories.get(repository)
            if found is None or digest not in found.blobs:
                raise BlobNotFound(f"no such blob in {repository}: {digest}")
            found.blobs.remove(digest)
            if not any(digest in other.blobs for other in self._repositories.values()):
                del self._content[digest]

    def mount_blob(self, repository: str, digest: Digest, origin: str) -> bool:
        with self._lock:
            names = [origin] if origin else list(self._repositories)
            held = any(
                digest in self._repositories[name].blobs
                for name in names
                if name in self._repositories
            )
            if held:
                self._repository(repository).blobs.add(digest)
            return held

    def _blob(self, repository: str, digest: Digest) -> bytes:
        with self._lock:
            found = self._repositories.get(repository)
            if found is None or digest not in found.blobs:
                raise BlobNotFound(f"no such blob in {repository}: {digest}")
            return self._content[digest]

    # -- uploads ---------------------------------------------------------------------------

    def begin_upload(self, repository: str, algorithm: str = "sha256") -> str:
        return self._uploads.begin(repository, _Upload())

    def upload_size(self, repository: str, upload: str) -> int:
        return self._uploads.size(repository, upload)

    def append_upload(
        self, repository: str, upload: str, data: Stream, *, offset: int | None = None
    ) -> int:
        with self._uploads.locked(repository, upload) as found:
            if offset is not None and offset != found.size:
                message = f"upload ends at {found.size}, not at {offset}"
                raise UploadConflict(message, size=found.size)
            while chunk := data.read(_CHUNK):
                found.data += chunk
            return found.size

    def commit_upload(self, repository: str, upload: str, digest: Digest) -> int:
        with self._uploads.locked(repository, upload) as found:
            data = bytes(found.data)
            self._uploads.end(upload)
        got = Digest.of(data, digest.algorithm)
        if got != digest:
            raise DigestMismatch(str(digest), str(got), size=len(data))
        with self._lock:
            self._content.setdefault(digest, data)
            self._repository(repository).blobs.add(digest)
        return len(data)

    def cancel_upload(self, repository: str, upload: str) -> None:
        with self._uploads.locked(repository, upload):
            self._uploads.end(upload)

    # -- manifests and tags ----------------------------------------------------------------

    def put_manifest(
        self, repository: str, manifest: StoredManifest, tags: Sequence[str] = ()
    ) -> None:
        with self._lock:
            found = self._repository(repository)
            found.manifests[manifest.digest] = manifest
            found.tags.update(dict.fromkeys(tags, manifest.digest))

    def get_manifest(self, repository: str, target: Digest | str) -> StoredManifest:
        with self._lock:
            found = self._repositories.get(repository, _Repository())
            digest = found.tags.get(target) if isinstance(target, str) else target
            if digest is None or digest not in found.manifests:
                raise ImageNotFound(f"no such manifest in {repository}: {target}")
            return found.manifests[digest]

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        with self._lock:
            found = self._repositories.get(repository)
            if found is None or digest not in found.manifests:
                raise ImageNotFound(f"no such manifest in {repository}: {digest}")
            del found.manifests[digest]
            found.tags = {tag: at for tag, at in found.tags.items() if at != digest}

    def delete_tag(self, repository: str, tag: str) -> None:
        with self._lock:
            found = self._repositories.get(repository)
            if found is None or tag not in found.tags:
                raise ImageNotFound(f"no such tag in {repository}: {tag}")
            del found.tags[tag]

    def tags(self, repository: str) -> Sequence[str]:
        with self._lock:
            if repository not in self._repositories:
                raise RepositoryNotFound(f"no such repository: {repository}")
            return sorted(self._repositories[repository].tags)

    def repositories(self) -> Sequence[str]:
        with self._lock:
            return sorted(self._repositories)

    def _repository(self, name: str) -> _Repository:
        return self._repositories.setdefault(name, _Repository())
