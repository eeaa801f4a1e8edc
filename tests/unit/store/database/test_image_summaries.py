"""What listings show of images: read once from the documents, and then remembered."""

from __future__ import annotations

import json
import os

import pytest

from ocitool import Store
from ocitool.drivers.conformance.layers import file
from ocitool.errors import ImageNotFound
from ocitool.oci.manifest import Index
from ocitool.oci.mediatypes import OCI_INDEX
from tests.fixtures.stores import put_image

MEMBERS = [file("f", b"content")]


def summaries(store):
    return store.summaries.of(digest for _, digest in store.refs.names())


def test_summaries_are_those_of_the_image(store):
    image = put_image(store, "r/a:1", MEMBERS)
    (found,) = summaries(store).values()
    assert (found.id, found.size) == (str(image.id), image.size)
    assert found.platform == str(image.config.platform)


def test_documents_are_read_once(store, store_root):
    image = put_image(store, "r/a:1", MEMBERS)
    before = summaries(store)
    store.close()
    os.truncate(store.blobs.path(image.descriptor.digest), 0)
    with Store.open(str(store_root)) as again:
        assert summaries(again) == before


def test_an_index_is_known_by_its_own_digest(store):
    image = put_image(store, "", MEMBERS)
    index = Index.new([image.descriptor])
    store.blobs.put(index.raw, store.lease())
    store.refs.set("r/i:1", index.descriptor)
    assert summaries(store)[str(index.descriptor.digest)].id == str(index.descriptor.digest)
    assert index.descriptor.media_type == OCI_INDEX


@pytest.mark.slow
def test_what_is_corrupt_has_no_summary(store):
    image = put_image(store, "r/a:1", MEMBERS)
    path = store.blobs.path(image.manifest.config.digest)
    os.truncate(path, 5)
    assert summaries(store) == {}
    put_image(store, "r/a:1", MEMBERS)
    assert len(summaries(store)) == 1
    os.unlink(store.blobs.path(image.descriptor.digest))
    assert summaries(store) == {}


def test_many_images_are_as_few(store):
    """More than one query may name."""
    images = [put_image(store, f"r/a:{at}", [file("f", b"%d" % at)]) for at in range(3)]
    wanted = [str(image.digest) for image in images] + [f"sha256:{at:064x}" for at in range(3000)]
    for _ in range(2):
        assert store.summaries.of(wanted).keys() == {str(image.digest) for image in images}


def test_an_image_is_found_by_the_beginning_of_its_id_or_digest(store):
    images = [put_image(store, f"r/a:{at}", [file("f", b"%d" % at)]) for at in range(3)]
    for image in images:
        assert store.find(image.id.encoded[:10]).digest == image.digest
        assert store.find(f"sha256:{image.digest.encoded[:10]}").digest == image.digest
    os.unlink(store.blobs.path(images[0].digest))
    assert store.find(images[0].digest.encoded[:10]).digest == images[0].digest
    with pytest.raises(ImageNotFound):
        store.find("0" * 12)


@pytest.mark.slow
@pytest.mark.parametrize("corruption", ["database", "index"])
def test_a_listing_goes_on_without_what_was_remembered(store, run_cli, corruption):
    image = put_image(store, "docker.io/library/a:1", MEMBERS)
    root = store.layout.root
    run_cli("images", root=root).ok()
    store.close()
    if corruption == "database":
        with open(f"{root}/db.sqlite", "r+b") as broken:
            broken.write(bytes(4096))
    else:
        foreign = image.descriptor.annotated(**{"org.opencontainers.image.ref.name": "Not A Name"})
        with open(f"{root}/oci/index.json", "w") as file:
            json.dump({"schemaVersion": 2, "manifests": [foreign.to_json()]}, file)
    shown = run_cli("images", "--format", "{{.Repository}} {{.Tag}} {{.ID}}", root=root)
    name = {"database": "a 1", "index": "Not A Name <none>"}[corruption]
    assert shown.ok().stdout == f"{name} {image.id.short}\n"
