"""An image ID is the digest of the config: several manifests may be one image."""

from __future__ import annotations

import contextlib

import pytest

from ocitool import Store, push
from ocitool.cli.images.listing import inspect_document, listed_images
from ocitool.drivers.conformance.layers import file
from ocitool.errors import BadReference, ImageNotFound, StoreError
from ocitool.image.image import Image
from ocitool.image.store_content import StoreSource, local_image
from ocitool.oci.manifest import Manifest
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.prune import prune
from ocitool.store.maintenance.remove import remove_image
from tests.fixtures.stores import age, put_image

PULLED, LOADED = "docker.io/library/pulled:1", "docker.io/library/loaded:1"


def put_twin(store, image, name):
    """Store another manifest with the config of *image*: its layers are not compressed."""
    made = Manifest.new(image.manifest.config, [plain(store, layer) for layer in image.layers])
    store.blobs.put(made.raw, store.lease())
    store.refs.set(name, made.descriptor)
    return Image(StoreSource(store, made.descriptor), made.descriptor)


def plain(store, layer):
    def write(sink):
        with contextlib.closing(store.layers.open(layer)) as stream:
            while data := stream.read(1 << 16):
                sink(data)

    return store.layers.pack(write, "none").blob


@pytest.fixture
def twins(store_root):
    """Return a store that is an hour old, with one image by two manifests."""
    with Store.open(str(store_root)) as store:
        pulled = put_image(store, PULLED, [file("f", b"1" * 100)])
        loaded = put_twin(store, pulled, LOADED)
        assert pulled.id == loaded.id
        assert pulled.digest != loaded.digest
        age(store)
    with Store.open(str(store_root)) as store:
        yield store, pulled, loaded


def names(store):
    return [name for name, _ in store.refs.names()]


@pytest.mark.parametrize("length", [1, 2, 12, 63, 64])
@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_any_beginning_of_an_id_finds_the_image(twins, prefix, length):
    store, pulled, _ = twins
    assert local_image(store, prefix + pulled.id.encoded[:length]).id == pulled.id


def test_a_manifest_is_found_by_its_digest(twins):
    store, pulled, loaded = twins
    for image in (pulled, loaded):
        assert store.find(str(image.digest)).digest == image.digest


@pytest.mark.slow
def test_an_ambiguous_beginning_is_neither_missing_nor_a_guess(store):
    images = [put_image(store, f"r/a:{at}", [file("f", b"%d" % at)]) for at in range(17)]
    digit = next(d for d in "0123456789abcdef" if sum(i.id.encoded[0] == d for i in images) > 1)
    with pytest.raises(BadReference, match="ambiguous"):
        store.find(digit)


def test_a_name_comes_before_an_id(twins):
    store, pulled, _ = twins
    digits = pulled.id.encoded[:12]
    other = put_image(store, f"docker.io/library/{digits}:latest", [file("g", b"")])
    assert store.find(digits).digest == other.digest
    assert store.find_id(digits) is None
    assert local_image(store, f"sha256:{digits}").id == pulled.id


@pytest.mark.parametrize("text", ["A", "http://host/x", "a b"])
def test_what_is_no_reference_is_not_called_missing(store, text):
    with pytest.raises(BadReference):
        store.find(text)


def test_a_missing_id_is_not_to_be_pulled(store):
    with pytest.raises(ImageNotFound) as caught:
        store.find("sha256:0123")
    assert caught.value.hint == ""


def test_inspect_shows_the_names_of_all_manifests(twins):
    store, pulled, loaded = twins
    shown = inspect_document(store, local_image(store, pulled.id.encoded))
    assert shown["RepoTags"] == ["pulled:1", "loaded:1"]
    assert shown["RepoDigests"] == [f"loaded@{loaded.digest}", f"pulled@{pulled.digest}"]


def test_a_manifest_that_lost_its_name_is_not_listed_beside_the_image(twins):
    store, pulled, loaded = twins
    store.refs.set(PULLED, loaded.descriptor)
    assert "" in names(store)
    rows = [(each.name, each.summary.id) for each in listed_images(store)]
    assert rows == [(PULLED, str(pulled.id)), (LOADED, str(pulled.id))]
    done = prune(store)
    assert done.images == ()  # the image stays
    assert done.size > 0
    assert list(check(store)) == []


def test_an_id_with_several_names_is_removed_by_force(twins):
    store, pulled, _ = twins
    with pytest.raises(StoreError, match="several names"):
        remove_image(store, pulled.id.short)
    done = remove_image(store, pulled.id.short, force=True)
    assert (set(done.untagged), done.deleted) == ({PULLED, LOADED}, pulled.id)
    assert (names(store), list(store.blobs.all())) == ([], [])


def test_a_name_is_removed_with_its_manifest_and_the_image_stays(twins):
    store, pulled, loaded = twins
    done = remove_image(store, "pulled:1", force=True)
    assert (done.untagged, done.deleted) == ((PULLED,), None)
    assert names(store) == [LOADED]
    kept = {loaded.digest, loaded.manifest.config.digest, loaded.layers[0].blob.digest}
    assert set(store.blobs.all()) == kept
    done = remove_image(store, "loaded:1")
    assert (done.untagged, done.deleted) == ((LOADED,), pulled.id)
    assert list(store.blobs.all()) == []


def test_an_id_takes_the_digests_of_its_one_repository_with_it(twins):
    store, pulled, loaded = twins
    store.refs.set(f"docker.io/library/pulled@{loaded.digest}", loaded.descriptor)
    store.refs.remove(LOADED)
    done = remove_image(store, pulled.id.short)
    assert len(done.untagged) == 2
    assert done.deleted == pulled.id
    assert names(store) == []


def test_the_last_tag_takes_the_digests_of_its_repository_with_it(twins):
    store, pulled, loaded = twins
    by_digest = f"docker.io/library/pulled@{loaded.digest}"
    store.refs.set(by_digest, loaded.descriptor)
    store.refs.set("docker.io/library/pulled:2", pulled.descriptor)
    assert remove_image(store, "pulled:1").untagged == (PULLED,)
    assert set(remove_image(store, "pulled:2").untagged) == {
        "docker.io/library/pulled:2",
        by_digest,
    }
    assert names(store) == [LOADED]


def test_a_push_needs_a_tag(twins):
    store, pulled, _ = twins
    digits = pulled.id.encoded
    for name, to in [
        (digits, ""),
        (digits[:12], ""),
        (f"sha256:{digits[:12]}", ""),
        (PULLED, f"localhost:1/x/y@sha256:{'0' * 64}"),
        (PULLED, f"localhost:1/x/y@{pulled.digest}"),
        (f"pulled@{pulled.digest}", ""),
        (PULLED, "http://localhost:1/x"),
    ]:
        with pytest.raises(BadReference):  # before anything is sent
            push(name, source=store, to=to)
