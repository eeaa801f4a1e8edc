"""A store behind the registry server passes the suite that every backend passes."""

from __future__ import annotations

import contextlib
import io
import resource

import pytest

from ocitool.errors import StoreError
from ocitool.oci.digest import Digest
from ocitool.store.registry_backend import StoreBackend
from ocitool_registry.server.backend import UploadConflict
from ocitool_registry.server.conformance import BackendConformance
from tests.fixtures.stores import files_below


class TestStoreBackend(BackendConformance):
    @pytest.fixture(autouse=True)
    def root(self, store_root):
        self._root, self._made = store_root, []
        yield
        for backend in self._made:
            backend.close()

    def make(self) -> StoreBackend:
        backend = StoreBackend(str(self._root / str(len(self._made))))
        self._made.append(backend)
        return backend


class Waiting:
    """A stream that lets another thread act while it is read."""

    def __init__(self, act):
        self._act = act

    def read(self, size=-1, /):
        act, self._act = self._act, None
        if act is None:
            return b""
        act()
        return b"data"

    def close(self):
        pass


def test_an_upload_that_is_being_written_is_not_ended_by_others(store_root):
    """Its descriptor would be closed beneath the writer, and soon be another file's."""
    refused = []
    with StoreBackend(str(store_root)) as backend:
        upload = backend.begin_upload("a")

        def cancel():
            with pytest.raises(UploadConflict):
                backend.cancel_upload("a", upload)
            refused.append(True)

        assert backend.append_upload("a", upload, Waiting(cancel)) == 4
        assert refused == [True]
        backend.cancel_upload("a", upload)
        assert files_below(store_root / "tmp") == []


def test_a_write_that_failed_halfway_leaves_no_part_in_the_blob(store_root):
    """The client goes on from where the upload is said to end: what came after that was kept."""
    data = bytes(range(256)) * 40
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with StoreBackend(str(store_root)) as backend:
        upload = backend.begin_upload("a")
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
        try:
            with pytest.raises(StoreError):
                backend.append_upload("a", upload, io.BytesIO(data))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert backend.upload_size("a", upload) == 0
        backend.append_upload("a", upload, io.BytesIO(data), offset=0)
        backend.commit_upload("a", upload, Digest.of(data))
        with contextlib.closing(backend.open_blob("a", Digest.of(data))) as stream:
            assert stream.read() == data


def test_what_it_holds_is_there_for_the_next(store_root):
    data = b"content"
    with StoreBackend(str(store_root)) as backend:
        upload = backend.begin_upload("a")
        backend.append_upload("a", upload, io.BytesIO(data))
        backend.commit_upload("a", upload, Digest.of(data))
        unfinished = backend.begin_upload("a")
        backend.append_upload("a", unfinished, io.BytesIO(data))
    with StoreBackend(str(store_root)) as backend:
        assert backend.blob_size("a", Digest.of(data)) == len(data)
        assert list(backend.repositories()) == ["a"]
    assert files_below(store_root / "tmp") == []
