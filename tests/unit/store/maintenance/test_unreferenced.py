"""Unreferenced data is reported with its names, and is not a problem."""

from __future__ import annotations

import os

import pytest

from ocitool import Store
from ocitool.drivers.conformance.layers import file
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.check.mounts import leaked_mounts
from ocitool.store.maintenance.prune import prune
from ocitool.store.maintenance.unreferenced import unreferenced_data
from tests.fixtures.programs import execute
from tests.fixtures.stores import age, put_image

MEMBERS = [file("f", b"content")]


def test_a_store_in_use_has_none(store):
    put_image(store, "r/a:1", MEMBERS)
    store.refs.set("", put_image(store, "r/b:1", [file("g", b"g")]).descriptor)
    assert list(unreferenced_data(store)) == []


def test_blobs_and_indexes_without_an_image(store, store_root):
    image = put_image(store, "r/a:1", MEMBERS)
    store.layers.index(image.layers[0])
    store.refs.remove("r/a:1")
    assert list(unreferenced_data(store)) == []  # they may belong to the work of this process
    age(store)
    store.close()
    with Store.open(str(store_root)) as again:
        blobs, indexes = unreferenced_data(again)
        size = sum(again.blobs.size(digest) for digest in again.blobs.all())
        assert blobs.startswith(f"3 unreferenced blobs ({size} bytes): sha256:")
        assert indexes.startswith("1 unreferenced layer indexes: ")
        assert list(check(again)) == []
        prune(again)
        assert list(unreferenced_data(again)) == []


@pytest.mark.slow
def test_layers_and_trees_that_the_database_does_not_know(unpacking, store_root):
    image = put_image(unpacking, "r/a:1", MEMBERS)
    (name,) = unpacking.layers.ensure(image.layers)
    driver = unpacking.driver()
    driver.begin("0badc0de-1", ())
    unpacking.database.run("DELETE FROM layers")
    unpacking.close()
    os.mkdir(f"{store_root}/tmp/0badc0de")
    with Store.open(str(store_root)) as again:
        dead, layers, trees = without_tars(again)
        assert dead == "1 directories of processes that have ended: tmp/0badc0de"
        assert layers.startswith(
            f"1 layers of driver {driver.name} that are not in the database: {name[:19]}"
        )
        assert trees == f"1 snapshots of driver {driver.name} whose process has ended: 0badc0de-1"
        again.sweep()
        assert len(without_tars(again)) == 1


def without_tars(store):
    """What is left, except the blobs that a driver's tars are, which may be too young to tell."""
    return [line for line in unreferenced_data(store) if " blobs (" not in line]


def test_many_are_counted_and_some_are_named(store, store_root):
    for at in range(5):
        os.mkdir(f"{store_root}/tmp/dead{at}")
    (line,) = unreferenced_data(store)
    assert line == (
        "5 directories of processes that have ended: tmp/dead0, tmp/dead1, tmp/dead2 and 2 more"
    )


@pytest.fixture
def mounted(root_only, store_root):
    """Return a function that mounts a tmpfs below the store."""
    paths = []

    def mount(place):
        os.makedirs(f"{store_root}/{place}")
        done = execute(["mount", "-t", "tmpfs", "none", f"{store_root}/{place}"])
        if done.code != 0:
            pytest.skip(f"needs to mount a tmpfs: {done.stderr.strip()}")
        paths.append(f"{store_root}/{place}")

    yield mount
    for place in paths:
        execute(["umount", place]).ok()


def test_a_mount_that_was_left_is_reported(store, mounted):
    mounted("drivers/overlay/trees/0badc0de-1/a b")
    (problem,) = leaked_mounts(store.layout)
    place = f"{store.layout.root}/drivers/overlay/trees/0badc0de-1/a b"
    assert problem.what == f"orphaned mount: {place}"
    assert f"umount {place}" in problem.remedy


def test_mounts_of_the_owner_and_of_the_living_are_none(store, mounted):
    mounted("oci/blobs/sha512")
    mounted(f"drivers/overlay/trees/{store.lease().key()}/fs")
    mounted(f"tmp/{store.lease().name}/place")
    assert list(leaked_mounts(store.layout)) == []
