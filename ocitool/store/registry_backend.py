"""A store as the backend of a registry server.

All repositories share one OCI layout, so each blob is stored once, and mounting it is cheap.  The
table ``origins`` records which repository has which blob; tags are names of the layout.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Self

from ocitool.errors import BlobNotFound, ImageNotFound
from ocitool.layer.codec import CHUNK
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.settings import Settings
from ocitool.store.blobs import BlobWriter
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.maintenance.served_stores import mark_served
from ocitool.store.refs import name_of
from ocitool.store.store import Store
from ocitool_registry.server.backend import RepositoryNotFound, StoredManifest, UploadConflict
from ocitool_registry.server.upload_sessions import UploadSessions


class StoreBackend:
    """The `Backend` over the store at *root*, which is created if it is missing.

    *trusted_owner* is as in `Settings`.  A read-only store can be served, too.
    """

    def __init__(self, root: str, *, trusted_owner: str = "") -> None:
        self._store = Store(Settings(root=os.path.abspath(root), trusted_owner=trusted_owner))
        if not self._store.layout.readonly:
            mark_served(self._store)
            self._store.lease()  # shows others that the store is in use
        self._uploads: UploadSessions[BlobWriter] = UploadSessions(BlobWriter.__exit__)

    # -- blobs ------------------------------------------------------------------------------

    def blob_size(self, repository: str, digest: Digest) -> int:
        size = self._store.blobs.size(digest) if self._holds(repository, digest) else None
        if size is None:
            raise BlobNotFound(f"{repository} has no blob {digest}")
        return size

    def open_blob(self, repository: str, digest: Digest, offset: int = 0) -> Stream:
        self.blob_size(repository, digest)
        file = self._store.blobs.open(digest)
        file.seek(offset)
        return file

    def delete_blob(self, repository: str, digest: Digest) -> None:
        self.blob_size(repository, digest)
        self._forget(repository, digest)

    def mount_blob(self, repository: str, digest: Digest, origin: str) -> bool:
        holders = self._store.origins(digest)
        if (origin and origin not in holders) or not holders:
            return False
        if self._store.blobs.size(digest) is None:
            return False
        self._note(digest, repository)
        return True

    # -- uploads ----------------------------------------------------------------------------

    def begin_upload(self, repository: str, algorithm: str = "sha256") -> str:
        return self._uploads.begin(repository, self._store.blobs.writer(self._store.lease()))

    def upload_size(self, repository: str, upload: str) -> int:
        return self._uploads.size(repository, upload)

    def append_upload(
        self, repository: str, upload: str, data: Stream, *, offset: int | None = None
    ) -> int:
        with self._uploads.locked(repository, upload) as writer:
            if offset is not None and offset != writer.size:
                raise UploadConflict("the upload has another size", size=writer.size)
            try:
                while piece := data.read(CHUNK):
                    writer.write(piece)
            finally:
                writer.rest()
            return writer.size

    def commit_upload(self, repository: str, upload: str, digest: Digest) -> int:
        with self._uploads.locked(repository, upload) as writer:
            size = writer.size
            try:
                writer.commit(Descriptor(media_type="", digest=digest, size=size))
            finally:
                self._uploads.end(upload)
        self._note(digest, repository)
        return size

    def cancel_upload(self, repository: str, upload: str) -> None:
        with self._uploads.locked(repository, upload):
            self._uploads.end(upload)

    # -- manifests and tags -----------------------------------------------------------------

    def put_manifest(
        self, repository: str, manifest: StoredManifest, tags: Sequence[str] = ()
    ) -> None:
        size = len(manifest.raw)
        target = Descriptor(media_type=manifest.media_type, digest=manifest.digest, size=size)
        with full_disk(self._store.layout.root):
            with self._store.blobs.writer(self._store.lease()) as writer:
                writer.write(manifest.raw)
                writer.commit(target)
            for tag in tags:
                self._store.refs.set(f"{repository}:{tag}", target)
            if not tags:
                self._store.refs.set("", target)
        self._note(manifest.digest, f"{repository}@")

    def get_manifest(self, repository: str, target: Digest | str) -> StoredManifest:
        if isinstance(target, str):
            entry = self._store.refs.get(f"{repository}:{target}")
        else:
            entry = self._entry(repository, target)
        if entry is None:
            raise ImageNotFound(f"{repository} has no manifest {target}")
        raw = self._store.blobs.read(entry)
        return StoredManifest(digest=entry.digest, media_type=entry.media_type, raw=raw)

    def _entry(self, repository: str, digest: Digest) -> Descriptor | None:
        """Return the entry of a manifest, with the media type that it was pushed with."""
        if not self._holds(f"{repository}@", digest):
            return None
        if self._store.blobs.size(digest) is None:
            return None
        return next(iter(self._store.refs.pointing(digest)), None)

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        found = self._entry(repository, digest)
        if found is None:
            raise ImageNotFound(f"{repository} has no manifest {digest}")
        self._forget(f"{repository}@", digest)
        for entry in self._store.refs.pointing(digest):
            if name_of(entry).startswith(f"{repository}:"):
                self._store.refs.remove(name_of(entry))
        if any(holder.endswith("@") for holder in self._store.origins(digest)):
            self._store.refs.set("", found)  # another repository has it, too

    def delete_tag(self, repository: str, tag: str) -> None:
        name = f"{repository}:{tag}"
        entry = self._store.refs.get(name)
        if entry is None:
            raise ImageNotFound(f"{repository} has no tag {tag}")
        self._store.refs.remove(name)
        self._store.refs.set("", entry)  # the manifest can still be pulled by its digest

    def tags(self, repository: str) -> Sequence[str]:
        if repository not in self.repositories():
            raise RepositoryNotFound(f"no such repository: {repository}")
        prefix = f"{repository}:"
        entries = self._store.refs.beginning(prefix)
        return sorted(name_of(entry).removeprefix(prefix) for entry in entries)

    def repositories(self) -> Sequence[str]:
        holders = self._store.blob_records.repositories()
        return sorted({holder.removesuffix("@") for holder in holders})

    # -- which repository holds what --------------------------------------------------------

    def _holds(self, repository: str, digest: Digest) -> bool:
        return repository in self._store.origins(digest)

    def _note(self, digest: Digest, holder: str) -> None:
        self._store.note_origin(digest, holder)
        # A repository is still listed when its content is deleted.
        self._store.blob_records.put_repository(holder.removesuffix("@"))

    def _forget(self, repository: str, digest: Digest) -> None:
        self._store.blob_records.remove_origin(digest, repository)

    def close(self) -> None:
        """Cancel unfinished uploads, and close the store."""
        self._uploads.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
