"""Which images a collection with filters takes."""

from __future__ import annotations

import os

import pytest

from ocitool import Store
from ocitool.oci.config import ImageConfig, RunConfig
from ocitool.oci.manifest import Descriptor, Index, Manifest
from ocitool.oci.mediatypes import OCI_CONFIG
from ocitool.oci.platform import this_platform
from ocitool.store.maintenance.filters import Filters
from ocitool.store.maintenance.prune import prune
from ocitool.store.refs import name_of
from tests.fixtures.stores import age

HOUR = 3600 * 10**9
NINE = 1_767_258_000 * 10**9  # 2026-01-01T09:00:00Z


def put(store, name, created, **labels):
    """Store an image without layers."""
    config = ImageConfig(
        platform=this_platform(), created=created, run=RunConfig(labels=labels)
    ).dump()
    digest = store.blobs.put(config, store.lease())
    described = Descriptor(media_type=OCI_CONFIG, digest=digest, size=len(config))
    manifest = Manifest.new(described, [])
    store.blobs.put(manifest.raw, store.lease())
    store.refs.set(name, manifest.descriptor)
    return manifest


@pytest.fixture
def store(store_root):
    """A store with images of some hours and labels, and one that does not say when it was made."""
    with Store.open(str(store_root)) as made:
        put(made, "r/a:1", "2026-01-01T08:00:00Z", stage="test", owner="ann")
        put(made, "r/a:2", "2026-01-01T09:00:00Z", stage="live")
        put(made, "r/a:3", "2026-01-01T12:30:00+02:00")
        put(made, "r/a:4", "")
        age(made)
    with Store.open(str(store_root)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("filters", "gone"),
    [
        (Filters(), "1234"),
        (Filters(until=NINE), "1"),
        (Filters(until=NINE + 1), "12"),
        (Filters(until=NINE + 2 * HOUR), "123"),
        (Filters(labels=(("stage", None),)), "12"),
        (Filters(labels=(("stage", "live"),)), "2"),
        (Filters(labels=(("stage", None), ("owner", "ann"))), "1"),
        (Filters(without=(("stage", None),)), "34"),
        (Filters(without=(("stage", "live"),)), "134"),
        (Filters(labels=(("stage", None),), without=(("owner", None),)), "2"),
        (Filters(until=NINE + HOUR, labels=(("stage", "live"),)), "2"),
    ],
)
def test_all_filters_must_agree(store, filters, gone):
    prune(store, all_images=True, filters=filters)
    left = [name_of(entry) for entry in store.refs.all()]
    assert left == [f"r/a:{number}" for number in "1234" if number not in gone]


def test_names_protect_an_image_whatever_a_filter_says(store):
    prune(store, filters=Filters(until=NINE + 9 * HOUR))
    assert len(store.refs.all()) == 4


def test_labels_say_nothing_of_build_steps(store):
    for used in (1.0, 2.0):
        store.database.run("INSERT INTO cache VALUES (?, '{}', ?)", (str(used), used))
    assert prune(store, filters=Filters(labels=(("x", None),))).cache == 0
    assert prune(store, filters=Filters(without=(("x", None),))).cache == 0
    assert prune(store, filters=Filters(until=1_500_000_000)).cache == 1
    assert prune(store).cache == 1


def test_what_cannot_be_asked_is_spared(store):
    first, *_ = store.refs.all()
    index = Index.new([first])
    store.blobs.put(index.raw, store.lease())
    store.refs.set("r/index:1", index.descriptor)
    os.truncate(store.blobs.path(store.refs.get("r/a:2").digest), 3)
    age(store)
    store.close()
    with Store.open(store.layout.root) as again:
        prune(again, all_images=True, filters=Filters(until=NINE + 9 * HOUR))
        assert [name_of(entry) for entry in again.refs.all()] == ["r/a:2", "r/a:4", "r/index:1"]
