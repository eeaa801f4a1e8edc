"""What a collection takes, and what it spares: names, containers, the cache, work under way."""

from __future__ import annotations

import fcntl
import json
import os
import signal

import pytest

from ocitool import Store
from ocitool.builder.solver.cache import LocalCache, step_record
from ocitool.drivers.conformance.layers import file
from ocitool.errors import StoreError
from ocitool.oci.manifest import Index
from ocitool.oci.mediatypes import OCI_INDEX
from ocitool.store.layer_content import chain_ids
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.prune import prune
from ocitool.store.maintenance.remove import remove_image
from ocitool.store.maintenance.usage.usage import usage
from ocitool.store.refs import name_of
from tests.fixtures.stores import age, files_below, put_image, put_layer, start

BASE = [file("base", b"base")]
MINE = [file("mine", b"mine")]


@pytest.fixture
def fresh(store_root):
    """Return a function that opens the store as a new process does: without a lease of its own.

    What was there before is an hour old.
    """
    opened = []

    def reopen():
        while opened:
            old = opened.pop()
            age(old)
            old.close()
        opened.append(Store.open(str(store_root)))
        return opened[-1]

    yield reopen
    for store in opened:
        store.close()


def blobs(store):
    return {str(digest) for digest in store.blobs.all()}


def all_of(*images):
    return {
        str(part.digest)
        for image in images
        for part in (image.descriptor, image.manifest.config, *image.manifest.layers)
    }


def test_only_what_nothing_names_goes(fresh):
    store = fresh()
    base = put_layer(store, BASE)
    kept = put_image(store, "r/kept:1", base, MINE)
    gone = put_image(store, "", base, [file("other", b"other")])
    assert blobs(store) == all_of(kept, gone)
    store = fresh()
    done = prune(store)
    assert (done.untagged, done.images) == ((), (gone.manifest.config.digest,))
    assert (done.blobs, done.size > 0) == (3, True)
    assert blobs(store) == all_of(kept)
    assert [name_of(entry) for entry in store.refs.all()] == ["r/kept:1"]
    assert list(check(store)) == []


def test_everything_goes_when_all_is_asked_for(fresh):
    store = fresh()
    image = put_image(store, "r/a:1", BASE, MINE)
    for layer in image.layers:
        store.layers.index(layer)
    store = fresh()
    store.refs.set("r/b:1", image.descriptor)
    store = fresh()
    done = prune(store, all_images=True)
    assert done.untagged == ("r/a:1", "r/b:1")
    assert done.images == (image.manifest.config.digest,)
    assert blobs(store) == set()
    assert files_below(store.layout.indexes) == []
    assert store.refs.all() == ()
    assert store.database.rows("SELECT * FROM packed") == []
    sizes = {row.kind: (row.total, row.size) for row in usage(store).rows}
    assert set(sizes.values()) == {(0, 0)}


def test_an_index_keeps_its_images(fresh):
    store = fresh()
    image = put_image(store, "", BASE)
    index = Index.new([image.descriptor])
    store.blobs.put(index.raw, store.lease())
    store.refs.drop((image.digest,))
    store.refs.set("r/many:1", index.descriptor)
    assert index.descriptor.media_type == OCI_INDEX
    store = fresh()
    prune(store)
    assert blobs(store) == {*all_of(image), str(index.descriptor.digest)}


def test_a_corrupt_image_does_not_stop_it(fresh):
    store = fresh()
    put_image(store, "r/good:1", BASE)
    bad = put_image(store, "r/bad:1", MINE)
    for part in (bad.descriptor, bad.manifest.config):
        os.truncate(store.blobs.path(part.digest), 7)
    store = fresh()
    prune(store)
    assert [problem.fault.digest for problem in check(store)] == [bad.digest]
    assert str(bad.digest) in blobs(store)  # it has a name: it is not ours to drop


def test_the_build_cache_goes_when_asked(fresh):
    store = fresh()
    layer = put_layer(store, BASE)
    LocalCache(store).put("key", step_record(layer, "", []))
    store = fresh()
    assert prune(store, cache=False).cache == 0
    assert blobs(store) == {str(layer.blob.digest)}
    assert LocalCache(store).get("key").layer == layer
    store = fresh()
    done = prune(store)
    assert (done.cache, done.blobs) == (1, 1)
    assert blobs(store) == set()
    assert LocalCache(store).get("key") is None


@pytest.mark.slow
def test_unpacked_layers_go_with_their_images(fresh, unpacking):
    store = fresh()
    base = put_layer(store, BASE)
    kept, gone = put_image(store, "r/a:1", base), put_image(store, "", base, MINE)
    store.layers.ensure(gone.layers)
    store = fresh()
    assert prune(store).layers == 1
    assert list(store.driver().layers()) == list(chain_ids(kept.layers))
    assert len(store.database.rows("SELECT * FROM layers")) == 1


@pytest.mark.slow
def test_a_layer_of_a_crash_goes(fresh, unpacking):
    store = fresh()
    image = put_image(store, "r/a:1", BASE, MINE)
    store.layers.ensure(image.layers)
    store.database.run("DELETE FROM layers")
    store.refs.drop((image.digest,))
    store = fresh()
    assert prune(store).layers == 2
    assert list(store.driver().layers()) == []


@pytest.mark.slow
def test_layers_of_every_driver_go(store_root, unpacking):
    with Store.open(str(store_root), driver="vfs") as store:
        image = put_image(store, "", BASE, MINE)
        store.layers.ensure(image.layers)
        age(store)
    with Store.open(str(store_root)) as store:
        prune(store)
    assert os.listdir(store_root / "drivers" / "vfs" / "layers") == []


@pytest.mark.slow
def test_the_layers_of_a_container_are_spared_while_it_lives(fresh, unpacking):
    store = fresh()
    image = put_image(store, "", BASE)
    (name,) = store.layers.ensure(image.layers)
    place = f"{store.layout.containers}/c"
    os.mkdir(place)
    with open(f"{place}/container.json", "w") as state:
        json.dump({"layers": [name]}, state)
    container = os.open(place, os.O_RDONLY)
    fcntl.flock(container, fcntl.LOCK_EX)
    store = fresh()
    assert prune(store).layers == 0
    assert list(store.driver().layers()) == [name]
    os.close(container)
    assert prune(store).layers == 1
    assert os.listdir(store.layout.containers) == []


PULL = """
import sys
from ocitool import Store
store = Store.open(sys.argv[1])
digest = store.blobs.put(b"a layer that came in", store.lease())
for at in range(30):                      # the pull goes on for a while
    with store.blobs.writer(store.lease()) as writer:
        writer.write(b"x")
print(digest, flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_pull_under_way_is_spared(fresh):
    store = fresh()
    puller = start(PULL, store.layout.root)
    with puller:
        digest = puller.stdout.readline().strip()
        old = put_layer(store, BASE)
        os.utime(store.blobs.path(old.blob.digest), (1, 1))
        prune(store, all_images=True)
        assert blobs(store) == {digest}
        puller.send_signal(signal.SIGKILL)
    fresh()
    store = fresh()
    prune(store)
    assert blobs(store) == set()
    assert os.listdir(store.layout.tmp) == []


CLAIM = """
import sys
from ocitool import Store
from ocitool.image.store_content import local_image
store = Store.open(sys.argv[1])
image = local_image(store, "docker.io/r/a:1")
store.layers.ensure(image.layers)         # they are there; this claims them
print("ready", flush=True)
sys.stdin.readline()
print(run := [mount.type for mount in store.layers.view(image.layers)])
"""


@pytest.mark.slow
def test_layers_that_another_process_uses_are_spared(fresh, unpacking):
    store = fresh()
    image = put_image(store, "docker.io/r/a:1", BASE, MINE)
    names = store.layers.ensure(image.layers)
    store = fresh()
    user = start(CLAIM, store.layout.root)
    with user:
        assert user.stdout.readline() == "ready\n"
        store.refs.drop((image.digest,))
        assert prune(store, all_images=True).layers == 0
        assert set(store.driver().layers()) == set(names)
        user.stdin.write("\n")
        user.stdin.flush()
        assert user.wait(60) == 0, user.stderr.read()


def test_a_name_is_removed_and_the_image_with_the_last(fresh):
    store = fresh()
    image = put_image(store, "docker.io/library/a:1", BASE)
    store.refs.set("docker.io/library/b:2", image.descriptor)
    store = fresh()
    first = remove_image(store, "a:1")
    assert (first.untagged, first.deleted) == (("docker.io/library/a:1",), None)
    assert blobs(store) == all_of(image)
    last = remove_image(store, "b:2")
    assert (last.untagged, last.deleted) == (("docker.io/library/b:2",), image.id)
    assert blobs(store) == set()


def test_an_id_of_several_names_needs_force(fresh):
    store = fresh()
    image = put_image(store, "docker.io/library/a:1", BASE)
    store.refs.set("docker.io/library/b:2", image.descriptor)
    store = fresh()
    with pytest.raises(StoreError, match="several names"):
        remove_image(store, image.id.short)
    done = remove_image(store, image.id.short, force=True)
    assert sorted(done.untagged) == ["docker.io/library/a:1", "docker.io/library/b:2"]
    assert blobs(store) == set()


def test_an_image_without_a_name_goes_by_its_id(fresh):
    store = fresh()
    image = put_image(store, "", BASE)
    image_id = image.id
    store = fresh()
    done = remove_image(store, image.digest.encoded[:12])
    assert (done.untagged, done.deleted) == ((), image_id)
    assert blobs(store) == set()
