"""Removing an image takes what only it has, and nothing of the others."""

from __future__ import annotations

import os
import random
import re

import pytest

from ocitool import Store
from ocitool.drivers.conformance.layers import file
from ocitool.errors import DriverUnavailable, ImageNotFound, StoreError
from ocitool.oci.manifest import Index, Manifest
from ocitool.settings import Settings
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.remove import remove_image
from tests.fixtures.stores import age, put_image, put_layer


@pytest.fixture
def later(store_root):
    """Return a function that opens the store as a process does that comes an hour later."""
    opened = []

    def reopen():
        while opened:
            age(opened[-1])
            opened.pop().close()
        opened.append(Store.open(str(store_root)))
        return opened[-1]

    yield reopen
    for store in opened:
        store.close()


def needs(*images):
    return {
        part.digest
        for image in images
        for part in (image.descriptor, image.manifest.config, *image.manifest.layers)
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_the_others_keep_what_they_share(later, seed):
    choose = random.Random(seed)
    store = later()
    layers = [put_layer(store, [file(f"f{at}", b"%d" % at)]) for at in range(5)]
    images = {}
    for at in range(6):
        own = put_layer(store, [file("own", b"%d" % at)])
        parts = [*choose.sample(layers, choose.randrange(4)), own]
        images[f"docker.io/r/a:{at}"] = put_image(store, f"docker.io/r/a:{at}", *parts)
    for layer in layers:
        store.layers.index(layer)
    orphans = set(store.blobs.all()) - needs(*images.values())
    while images:
        store = later()
        name = choose.choice(sorted(images))
        remove_image(store, name)
        del images[name]
        assert set(store.blobs.all()) == needs(*images.values()) | orphans
        assert list(check(store)) == []


def test_a_digest_may_be_written_with_escapes(later):
    """To JSON it is the same text; to who looks for its bytes it is not."""
    store = later()
    layer = put_layer(store, [file("f", b"1")])
    put_image(store, "docker.io/r/a:1", layer)
    other = put_image(store, "docker.io/r/b:1", layer, [file("g", b"2")])
    text = other.manifest.raw.decode()
    for part in (other.manifest.config, *other.manifest.layers):
        digits = part.digest.encoded
        text = text.replace(digits, re.sub("[a-f]", lambda m: f"\\u{ord(m[0]):04x}", digits))
    manifest = Manifest.parse(text.encode())
    assert manifest.layers == other.manifest.layers
    store.blobs.put(manifest.raw, store.lease())
    store.refs.drop((other.digest,))
    store.refs.set("docker.io/r/b:1", manifest.descriptor)
    store = later()
    remove_image(store, "r/a:1")
    assert layer.blob.digest in set(store.blobs.all())
    assert list(check(store)) == []


def test_an_image_of_an_index_keeps_its_own(later):
    store = later()
    layer = put_layer(store, [file("f", b"1")])
    put_image(store, "docker.io/r/a:1", layer)
    inner = put_image(store, "", layer, [file("g", b"2")])
    store.refs.drop((inner.digest,))
    index = Index.new([inner.descriptor])
    store.blobs.put(index.raw, store.lease())
    store.refs.set("docker.io/r/index:1", index.descriptor)
    store = later()
    remove_image(store, "r/a:1")
    assert set(store.blobs.all()) == needs(inner) | {index.descriptor.digest}
    remove_image(store, "r/index:1")
    assert set(store.blobs.all()) == set()


@pytest.mark.slow
def test_unpacked_layers_and_indexes_go_with_the_last_image(later):
    store = later()
    layer, top = put_layer(store, [file("f", b"1")]), put_layer(store, [file("g", b"2")])
    put_image(store, "docker.io/r/a:1", layer, top)
    put_image(store, "docker.io/r/b:1", layer)
    try:
        names = store.layers.ensure([layer, top])
    except DriverUnavailable as error:
        pytest.skip(str(error))
    store.layers.index(layer)
    store.layers.index(top)
    store = later()
    remove_image(store, "r/a:1")
    assert list(store.driver().layers()) == [names[0]]
    assert os.listdir(store.layout.indexes) == [layer.diff_id.encoded]
    store = later()
    remove_image(store, "r/b:1")
    assert list(store.driver().layers()) == []
    assert os.listdir(store.layout.indexes) == []
    assert list(check(store)) == []


@pytest.mark.parametrize("meanwhile", ["moved", "removed"])
def test_a_name_that_another_process_has_changed_is_looked_for_once_more(
    later, monkeypatch, meanwhile
):
    store = later()
    first, second = (put_image(store, "", [file("f", data)]) for data in (b"1", b"2"))
    store.refs.set("docker.io/a/a:1", first.descriptor)
    store = later()
    find, calls = store.find, []

    def found(name):
        entry = find(name)
        if not calls:  # right after it was found
            store.refs.drop((first.digest,))
            if meanwhile == "moved":
                store.refs.set("docker.io/a/a:1", second.descriptor)
        calls.append(name)
        return entry

    monkeypatch.setattr(store, "find", found)
    if meanwhile == "moved":
        remove_image(store, "a/a:1")
        assert store.refs.pointing(second.digest) == ()
    else:
        with pytest.raises(ImageNotFound):
            remove_image(store, "a/a:1")


def test_an_image_whose_manifest_is_gone_can_be_removed(later):
    store = later()
    gone, kept = (put_image(store, f"docker.io/a/{name}:1", [file(name, b"1")]) for name in "gk")
    store = later()
    os.unlink(store.blobs.path(gone.digest))
    assert remove_image(store, "a/g:1").deleted == gone.digest
    assert [entry.digest for entry in store.refs.all()] == [kept.digest]


@pytest.mark.parametrize("mine", [("mine:1",), ("mine:1", "mine:2")])
def test_a_name_of_a_shared_store_is_not_removed_for_another(store_root, tmp_path, mine):
    with Store.open(str(store_root)) as shared:
        put_image(shared, "docker.io/library/theirs:1", [file("f", b"1")])
    flags = {"root": str(tmp_path / "own"), "shared_stores": str(store_root)}
    with Store(Settings.load(flags=flags)) as store:
        for name in mine:
            store.refs.set(f"docker.io/library/{name}", store.find("theirs:1"))
        with pytest.raises(StoreError, match="is in a shared store"):
            remove_image(store, "theirs:1")
        assert len(store.refs.all()) == len(mine)
        remove_image(store, mine[0])
        assert len(store.refs.all()) == len(mine) - 1
