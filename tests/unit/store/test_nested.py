"""Indexes of indexes, and stacks of layers, made so that following them would never end."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ocitool import Store, copy
from ocitool.drivers.conformance.layers import file
from ocitool.errors import FormatError
from ocitool.image.store_content import StoreSink, StoreSource
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.mediatypes import OCI_INDEX
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.mark import mark, take_inventory
from ocitool.store.maintenance.prune import _topmost_first, prune
from tests.fixtures.stores import put_image

MOST_READS = 20_000


def put_index(store, *children):
    """Store an index that has each of *children* twice."""
    entries = [
        {"mediaType": child.media_type, "digest": str(child.digest), "size": child.size,
         "annotations": {"which": which}}
        for child in children
        for which in ("one", "two")
    ]  # fmt: skip
    data = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    raw = json.dumps(data).encode()
    digest = Digest.parse(f"sha256:{hashlib.sha256(raw).hexdigest()}")
    Path(store.blobs.path(digest)).write_bytes(raw)  # thousands, none of which has to last
    return Descriptor(media_type=OCI_INDEX, digest=digest, size=len(raw))


def nested(store, depth):
    """Store an image that is named after 2 ** *depth* ways through its indexes."""
    image = put_image(store, "", [file("f", b"content")])
    top = image.descriptor
    for _ in range(depth):
        top = put_index(store, top)
    store.refs.drop([image.digest])
    store.refs.set("docker.io/library/nested:1", top)
    return top, image


@pytest.fixture(params=[40, 1500])
def deep(request, store, monkeypatch):
    """A store with such an image; reading its documents over and over fails the test."""
    top, image = nested(store, request.param)
    left = [MOST_READS]
    read = type(store.blobs).read

    def counted(self, descriptor):
        left[0] -= 1
        assert left[0] > 0, "documents are read again and again"
        return read(self, descriptor)

    monkeypatch.setattr(type(store.blobs), "read", counted)
    return store, top, image


@pytest.mark.slow
def test_what_is_in_use_is_found_once(deep):
    store, top, image = deep
    found = mark(store)
    assert {top.digest, image.digest, image.manifest.config.digest} <= found.blobs
    assert prune(store, cache=False, dangling=False).blobs == 0
    assert store.blobs.size(image.digest) is not None


@pytest.mark.slow
def test_a_check_ends(deep):
    store, _, image = deep
    assert list(check(store)) == []
    assert take_inventory(store).names[image.digest] == {"docker.io/library/nested:1"}


@pytest.mark.slow
def test_a_copy_refuses_what_is_nested_without_sense(deep, tmp_path):
    store, top, _ = deep
    with Store.open(str(tmp_path / "other")) as other, pytest.raises(FormatError, match="nested"):
        sink = StoreSink(other, "docker.io/library/nested:1")
        copy(StoreSource(store, top), sink, all_platforms=True)


def test_a_copy_takes_each_document_once(store, tmp_path):
    top, image = nested(store, 3)
    with Store.open(str(tmp_path / "other")) as other:
        sink = StoreSink(other, "docker.io/library/nested:1")
        copy(StoreSource(store, top), sink, all_platforms=True)
        assert other.blobs.size(image.digest) == image.descriptor.size


@pytest.mark.slow
def test_thousands_of_layers_go_from_the_top_down(store):
    driver = "vfs"
    rows = [(f"{at:064x}", driver, "sha256:" + "0" * 64, f"{at - 1:064x}" if at else "", "", 0, 0)
            for at in range(3000)]  # fmt: skip
    store.database.run_many("INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    assert _topmost_first(store, driver, set()) == [chain for chain, *_ in reversed(rows)]
    assert _topmost_first(store, driver, {"stray"})[0] == "stray"
