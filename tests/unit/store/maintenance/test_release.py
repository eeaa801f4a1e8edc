"""What a command that failed has stored goes at its end, unless somebody else uses it."""

from __future__ import annotations

import pytest

from ocitool import Store
from ocitool.cli.app import App
from ocitool.drivers.conformance.layers import file
from ocitool.errors import LayerError, TransportError
from ocitool.oci.manifest import Descriptor
from ocitool.store.directory.leases import wait_for_tick
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.prune import prune, release_written
from tests.fixtures.stores import files_below, put_image, put_layer

BASE = [file("base", b"base")]
MINE = [file("mine", b"mine")]


@pytest.fixture
def other(store_root):
    """The same store in another process; its lease begins when it first needs one."""
    with Store.open(str(store_root)) as store:
        yield store


def blobs(store):
    return {str(digest) for digest in store.blobs.all()}


@pytest.mark.slow
def test_blobs_layers_and_indexes_go(with_driver):
    layers = (put_layer(with_driver, BASE), put_layer(with_driver, MINE))
    with_driver.layers.ensure(layers)
    with_driver.layers.index(layers[0])
    release_written(with_driver)
    assert (blobs(with_driver), list(with_driver.driver().layers())) == (set(), [])
    assert files_below(with_driver.layout.indexes) == []
    assert list(check(with_driver)) == []


@pytest.mark.slow
def test_what_has_a_name_stays_with_all_that_it_shares(with_driver, store_root):
    base = put_layer(with_driver, BASE)
    kept = put_image(with_driver, "r/kept:1", base)
    with_driver.layers.ensure(kept.layers)
    before = blobs(with_driver)
    layers = (base, put_layer(with_driver, MINE))
    with_driver.layers.ensure(layers)
    release_written(with_driver)
    assert blobs(with_driver) == before
    assert len(list(with_driver.driver().layers())) == 1
    assert list(check(with_driver)) == []


def test_what_another_process_claims_stays(store, other):
    """Also one that began after the blob was written, and has given it no name yet."""
    layer, mine = put_layer(store, BASE), put_layer(store, MINE)
    wait_for_tick()
    assert other.blobs.claim(layer.blob)
    release_written(store)
    assert blobs(store) == {str(layer.blob.digest)}
    assert str(mine.blob.digest) not in blobs(store)
    other.end_lease()
    assert prune(store).blobs == 1


def test_what_is_younger_than_a_running_process_stays(store, other):
    """It may have seen the blob, and is going to name it: a later prune takes what it did not."""
    other.lease()
    layer = put_layer(store, BASE)
    release_written(store)
    assert blobs(store) == {str(layer.blob.digest)}


def test_what_others_have_left_stays(store, other):
    layer = put_layer(other, BASE)
    other.end_lease()
    assert store.blobs.claim(layer.blob)
    put_layer(store, MINE)
    release_written(store)
    assert blobs(store) == {str(layer.blob.digest)}


@pytest.mark.parametrize(("error", "left"), [(LayerError("bad"), 0), (TransportError("cut"), 1)])
def test_a_failed_command_keeps_what_a_second_try_needs_not_fetch(store_root, error, left):
    app = App(root=str(store_root), driver=None, debug=False)
    with pytest.raises(type(error)), app.store() as store:
        digest = store.blobs.put(b"content", store.lease())
        assert store.blobs.claim(Descriptor(media_type="", digest=digest, size=7))
        raise error
    assert len(files_below(store_root / "oci/blobs")) == left
