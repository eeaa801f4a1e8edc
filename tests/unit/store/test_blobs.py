"""Blobs: whole or not there, and claimed before they can be collected."""

from __future__ import annotations

import os
import threading

import pytest

from ocitool.errors import BlobNotFound, DigestMismatch
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.store import blobs
from tests.fixtures.stores import files_below

DATA = b"0123456789" * 1000


def describe(data, algorithm="sha256", size=None):
    digest = Digest.of(data, algorithm)
    return Descriptor(media_type="x/y", digest=digest, size=len(data) if size is None else size)


def write(store, data, wanted):
    with store.blobs.writer(store.lease()) as writer:
        for at in range(0, len(data), 777):
            writer.write(data[at : at + 777])
        return writer.commit(wanted)


def left_over(store):
    return files_below(store.layout.tmp), files_below(store.layout.blobs)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_what_is_written_is_read(store, algorithm):
    wanted = describe(DATA, algorithm)
    assert write(store, DATA, wanted) == wanted.digest
    assert store.blobs.size(wanted.digest) == len(DATA)
    with store.blobs.open(wanted.digest) as file:
        assert file.read() == DATA
    assert store.blobs.read(wanted) == DATA
    assert list(store.blobs.all()) == [wanted.digest]
    assert files_below(store.layout.tmp) == []


@pytest.mark.parametrize(
    "wanted",
    [describe(DATA + b"x"), describe(DATA, size=len(DATA) - 1), describe(b"y" * len(DATA))],
    ids=["longer", "wrong size", "wrong digest"],
)
def test_wrong_content_leaves_nothing(store, wanted):
    with pytest.raises(DigestMismatch):
        write(store, DATA, wanted)
    assert left_over(store) == ([], [])


def test_an_abandoned_blob_leaves_nothing(store):
    with store.blobs.writer(store.lease()) as writer:
        writer.write(DATA)
        assert len(files_below(store.layout.tmp)) == 1
    assert left_over(store) == ([], [])


def test_a_blob_is_durable_before_it_is_seen(store, monkeypatch):
    steps = []
    sync, rename = os.fsync, os.rename
    kinds = {True: "directory", False: "file"}

    def fsync(fd):
        steps.append(f"sync {kinds[os.path.isdir(f'/proc/self/fd/{fd}')]}")
        sync(fd)

    def renamed(old, new):
        steps.append("rename")
        rename(old, new)

    store.lease()
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", renamed)
    write(store, DATA, None)
    assert steps == ["sync file", "rename", "sync directory"]


def test_a_second_put_writes_nothing(store):
    digest = store.blobs.put(DATA, store.lease())
    before = os.stat(store.blobs.path(digest)).st_ino
    assert store.blobs.put(DATA, store.lease()) == digest
    assert os.stat(store.blobs.path(digest)).st_ino == before


def test_an_absent_blob_is_reported_with_a_remedy(store):
    with pytest.raises(BlobNotFound) as caught:
        store.blobs.open(Digest.of(b"nothing"))
    assert "pull, load or build" in caught.value.hint


def test_a_corrupt_document_is_not_returned(store):
    digest = store.blobs.put(DATA, store.lease())
    with open(store.blobs.path(digest), "r+b") as file:
        file.write(b"x")
    with pytest.raises(DigestMismatch):
        store.blobs.read(describe(DATA))


def test_a_blob_of_a_wrong_size_is_not_there(store):
    digest = store.blobs.put(DATA, store.lease())
    os.truncate(store.blobs.path(digest), 5)
    assert not store.blobs.claim(describe(DATA))
    store.blobs.put(DATA, store.lease())  # and is repaired by the next that brings it
    assert store.blobs.read(describe(DATA)) == DATA


def test_what_other_tools_leave_is_passed_over(store):
    digest = store.blobs.put(DATA, store.lease())
    (store_sha := store.layout.blobs + "/sha256") and open(f"{store_sha}/.upload", "w").close()
    os.mkdir(f"{store.layout.blobs}/md5")
    open(f"{store.layout.blobs}/md5/x", "w").close()
    assert list(store.blobs.all()) == [digest]


def test_only_what_is_older_is_collected(store):
    digest = store.blobs.put(DATA, store.lease())
    stored = os.stat(store.blobs.path(digest)).st_mtime_ns
    assert store.blobs.collect(digest, stored) is None
    assert store.blobs.collect(digest, stored + 1) == len(DATA)
    assert store.blobs.collect(digest, stored + 1) is None
    assert not store.blobs.claim(describe(DATA))


def test_a_claim_makes_a_blob_young(store):
    digest = store.blobs.put(DATA, store.lease())
    path = store.blobs.path(digest)
    os.utime(path, (1, 1))
    began = int(store.lease().began * 10**9)
    assert store.blobs.claim(describe(DATA))
    assert store.blobs.collect(digest, began) is None
    os.utime(path, (1, 1))
    assert store.blobs.collect(digest, began) == len(DATA)


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["alone", "under another name too", "in the trash"])
def test_a_claim_that_succeeds_meets_no_collection(store, tmp_path, monkeypatch, kept):
    """Whichever of the two is first, what was claimed is there."""
    if kept == "in the trash":
        monkeypatch.setattr(blobs, "_LARGE", 1)
    for number in range(300):
        digest = store.blobs.put(DATA, store.lease())
        if kept == "under another name too":  # as a driver keeps plain tars
            os.link(store.blobs.path(digest), f"{store.layout.tmp}/{number}")
        os.utime(store.blobs.path(digest), (1, 1))
        line = threading.Barrier(2)
        claimed = []

        def claim(line=line, claimed=claimed):
            line.wait()
            claimed.append(store.blobs.claim(describe(DATA)))

        thread = threading.Thread(target=claim)
        thread.start()
        line.wait()
        gone = store.blobs.collect(digest, 2 * 10**9)
        thread.join()
        there = store.blobs.size(digest) is not None
        assert there == (gone is None)
        assert there or not claimed[0]
