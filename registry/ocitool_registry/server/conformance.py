"""A conformance suite for implementations of `Backend`.

A test class inherits from `BackendConformance` and creates an empty backend::

    class TestMine(BackendConformance):
        def make(self):
            return MyBackend(...)

Any runner that calls methods named ``test_*`` can be used; the tests only use ``assert``.
"""

from __future__ import annotations

import contextlib
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from ocitool.errors import BlobNotFound, DigestMismatch, ImageNotFound, OcitoolError
from ocitool.oci.digest import Digest
from ocitool_registry.server.backend import (
    RepositoryNotFound,
    StoredManifest,
    TooManyUploads,
    UploadConflict,
    UploadNotFound,
)

if TYPE_CHECKING:
    from ocitool.oci.content import Stream
    from ocitool_registry.server.backend import Backend

_DATA = b"0123456789" * 1000
_DIGEST = Digest.of(_DATA)
_OTHER = Digest.of(b"something else")
_MANIFEST = b'{"schemaVersion":2}'
_TYPE = "application/vnd.oci.image.manifest.v1+json"


def _raises(kind: type[OcitoolError], call: Callable[[], object]) -> OcitoolError:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def _read(stream: Stream) -> bytes:
    parts = []
    while part := stream.read(777):
        parts.append(part)
    stream.close()
    return b"".join(parts)


class _Broken:
    """A stream that raises after some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1) -> bytes:
        data, self._data = self._data, b""
        if not data:
            raise OcitoolError("broken")
        return data

    def close(self) -> None:
        return None


class BackendConformance(ABC):
    """One method for each property that `Backend` requires."""

    @abstractmethod
    def make(self) -> Backend:
        """Return a new, empty backend."""

    def _pushed(self, repository: str = "a/b", data: bytes = _DATA) -> Backend:
        backend = self.make()
        upload = backend.begin_upload(repository)
        backend.append_upload(repository, upload, io.BytesIO(data))
        backend.commit_upload(repository, upload, Digest.of(data))
        return backend

    def test_a_committed_upload_is_a_blob(self) -> None:
        backend = self._pushed()
        assert backend.blob_size("a/b", _DIGEST) == len(_DATA)
        assert _read(backend.open_blob("a/b", _DIGEST)) == _DATA
        assert _read(backend.open_blob("a/b", _DIGEST, 9990)) == b"0123456789"
        assert _read(backend.open_blob("a/b", _DIGEST, len(_DATA))) == b""

    def test_a_missing_blob_is_reported(self) -> None:
        backend = self._pushed()
        for call in (backend.blob_size, backend.open_blob, backend.delete_blob):
            _raises(BlobNotFound, lambda call=call: call("a/b", _OTHER))  # type: ignore[misc]
            _raises(BlobNotFound, lambda call=call: call("nobody", _DIGEST))  # type: ignore[misc]

    def test_an_upload_grows_by_what_is_appended(self) -> None:
        backend = self.make()
        upload = backend.begin_upload("a")
        assert backend.upload_size("a", upload) == 0
        assert backend.append_upload("a", upload, io.BytesIO(_DATA[:10])) == 10
        assert backend.append_upload("a", upload, io.BytesIO(_DATA[10:]), offset=10) == len(_DATA)
        assert backend.commit_upload("a", upload, _DIGEST) == len(_DATA)

    def test_a_wrong_offset_is_rejected_and_changes_nothing(self) -> None:
        backend = self.make()
        upload = backend.begin_upload("a")
        backend.append_upload("a", upload, io.BytesIO(b"12345"))
        for offset in (0, 4, 6):
            error = _raises(
                UploadConflict,
                lambda offset=offset: backend.append_upload(  # type: ignore[misc]
                    "a", upload, io.BytesIO(b"x"), offset=offset
                ),
            )
            assert isinstance(error, UploadConflict)
            assert error.size == 5
        assert backend.upload_size("a", upload) == 5

    def test_bytes_before_a_failure_are_kept(self) -> None:
        backend = self.make()
        upload = backend.begin_upload("a")
        error = _raises(OcitoolError, lambda: backend.append_upload("a", upload, _Broken(b"123")))
        assert error.message == "broken"
        assert backend.upload_size("a", upload) == 3
        assert backend.append_upload("a", upload, io.BytesIO(b"4"), offset=3) == 4

    def test_wrong_content_is_never_published(self) -> None:
        backend = self.make()
        upload = backend.begin_upload("a")
        backend.append_upload("a", upload, io.BytesIO(_DATA))
        _raises(DigestMismatch, lambda: backend.commit_upload("a", upload, _OTHER))
        _raises(BlobNotFound, lambda: backend.blob_size("a", _OTHER))
        _raises(BlobNotFound, lambda: backend.blob_size("a", _DIGEST))
        _raises(UploadNotFound, lambda: backend.upload_size("a", upload))

    def test_the_same_blob_twice_is_success(self) -> None:
        backend = self._pushed()
        upload = backend.begin_upload("a/b")
        backend.append_upload("a/b", upload, io.BytesIO(_DATA))
        assert backend.commit_upload("a/b", upload, _DIGEST) == len(_DATA)

    def test_another_algorithm_than_expected_is_accepted(self) -> None:
        backend = self.make()
        upload = backend.begin_upload("a")
        digest = Digest.of(_DATA, "sha512")
        backend.append_upload("a", upload, io.BytesIO(_DATA))
        backend.commit_upload("a", upload, digest)
        assert _read(backend.open_blob("a", digest)) == _DATA

    def test_an_empty_blob_is_a_blob(self) -> None:
        backend = self._pushed(data=b"")
        assert backend.blob_size("a/b", Digest.of(b"")) == 0

    def test_a_completed_upload_does_not_exist(self) -> None:
        backend = self.make()
        upload = backend.begin_upload("a")
        backend.cancel_upload("a", upload)
        calls: list[Callable[[], object]] = [
            lambda: backend.upload_size("a", upload),
            lambda: backend.append_upload("a", upload, io.BytesIO(b"x")),
            lambda: backend.commit_upload("a", upload, _DIGEST),
            lambda: backend.cancel_upload("a", upload),
        ]
        for call in calls:
            _raises(UploadNotFound, call)

    def test_idle_uploads_use_no_descriptor(self) -> None:
        backend = self._pushed()
        before = len(os.listdir("/proc/self/fd"))
        begun: list[str] = []
        with contextlib.suppress(TooManyUploads):
            for _ in range(3000):
                begun.append(backend.begin_upload("a"))
                backend.append_upload("a", begun[-1], io.BytesIO(b"x"))
        assert len(os.listdir("/proc/self/fd")) < before + 10
        assert _read(backend.open_blob("a/b", _DIGEST)) == _DATA
        backend.cancel_upload("a", begun[0])
        assert backend.append_upload("a", begun[1], io.BytesIO(b"y"), offset=1) == 2
        backend.append_upload("a", backend.begin_upload("a"), io.BytesIO(b"z"))

    def test_an_upload_belongs_to_its_repository(self) -> None:
        backend = self.make()
        upload = backend.begin_upload("a")
        _raises(UploadNotFound, lambda: backend.upload_size("b", upload))

    def test_a_mount_shares_a_blob(self) -> None:
        backend = self._pushed()
        assert backend.mount_blob("c", _DIGEST, "a/b")
        assert backend.mount_blob("d", _DIGEST, "")
        backend.delete_blob("a/b", _DIGEST)
        assert _read(backend.open_blob("c", _DIGEST)) == _DATA
        _raises(BlobNotFound, lambda: backend.blob_size("a/b", _DIGEST))

    def test_a_mount_of_a_missing_blob_is_no_error(self) -> None:
        backend = self._pushed()
        assert not backend.mount_blob("c", _OTHER, "a/b")
        assert not backend.mount_blob("c", _DIGEST, "nobody")
        assert "c" not in backend.repositories()

    def test_a_delete_does_not_disturb_a_reader(self) -> None:
        backend = self._pushed()
        stream = backend.open_blob("a/b", _DIGEST)
        assert stream.read(3) == b"012"
        backend.delete_blob("a/b", _DIGEST)
        assert _read(stream) == _DATA[3:]

    def test_manifests_are_found_by_tag_and_digest(self) -> None:
        backend, stored = self._tagged("one", "two")
        for target in ("one", "two", stored.digest):
            assert backend.get_manifest("a", target) == stored
        _raises(ImageNotFound, lambda: backend.get_manifest("a", "three"))
        _raises(ImageNotFound, lambda: backend.get_manifest("b", stored.digest))

    def test_a_tag_moves(self) -> None:
        backend, old = self._tagged("one")
        raw = _MANIFEST + b" "
        new = StoredManifest(digest=Digest.of(raw), media_type=_TYPE, raw=raw)
        backend.put_manifest("a", new, ["one"])
        assert backend.get_manifest("a", "one") == new
        assert backend.get_manifest("a", old.digest) == old

    def test_deleting_a_tag_leaves_the_manifest(self) -> None:
        backend, stored = self._tagged("one", "two")
        backend.delete_tag("a", "one")
        assert list(backend.tags("a")) == ["two"]
        assert backend.get_manifest("a", stored.digest) == stored
        _raises(ImageNotFound, lambda: backend.delete_tag("a", "one"))

    def test_deleting_a_manifest_removes_its_tags(self) -> None:
        backend, stored = self._tagged("one", "two")
        backend.delete_manifest("a", stored.digest)
        assert list(backend.tags("a")) == []
        _raises(ImageNotFound, lambda: backend.get_manifest("a", "one"))
        _raises(ImageNotFound, lambda: backend.delete_manifest("a", stored.digest))

    def test_lists_are_sorted(self) -> None:
        backend, stored = self._tagged("b", "a", "C")
        backend.put_manifest("Z".lower(), stored, ["x"])
        assert list(backend.tags("a")) == ["C", "a", "b"]
        assert list(backend.repositories()) == ["a", "z"]
        _raises(RepositoryNotFound, lambda: backend.tags("nobody"))

    def _tagged(self, *tags: str) -> tuple[Backend, StoredManifest]:
        backend = self.make()
        digest = Digest.of(_MANIFEST)
        stored = StoredManifest(digest=digest, media_type=_TYPE, raw=_MANIFEST)
        backend.put_manifest("a", stored, tags)
        return backend, stored
