"""What is said to be reclaimable is what a collection gives back, to the byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocitool import Store
from ocitool.builder.solver.cache import LocalCache, step_record
from ocitool.drivers.conformance.layers import file, hardlink
from ocitool.store.maintenance.prune import prune
from ocitool.store.maintenance.usage.build_cache import prune_records, size_of
from ocitool.store.maintenance.usage.usage import usage
from tests.fixtures.stores import age, put_image, put_layer

BASE = [file("base", b"base" * 5000)]


def content(size):
    return [file("f", os.urandom(size)), hardlink("g", "f")]


def on_disk(store):
    """Add up the files that belong to images, layers and build steps; each inode counts once."""
    sizes = {}
    for place in ("oci/blobs", "indexes", "drivers"):
        for path in Path(store.layout.root, place).rglob("*"):
            state = path.lstat()
            if path.is_file() and not path.is_symlink() and path.name != "choice.json":
                sizes[state.st_ino] = state.st_size
    return sum(sizes.values())


def reopened(store, root):
    """Close *store*, and open it as a new process does when everything there is an hour old."""
    age(store)
    store.close()
    return Store.open(str(root))


@pytest.fixture
def filled(unpacking, store_root):
    """A store with an image that stays, one without a name, build steps, and orphans."""
    base = put_layer(unpacking, BASE)
    mine = put_layer(unpacking, content(3000))
    put_image(unpacking, "r/kept:1", base, mine)
    unpacking.layers.ensure([base, mine])
    gone = put_layer(unpacking, content(7000))
    put_image(unpacking, "", base, gone)
    unpacking.layers.ensure([base, gone])
    cache = LocalCache(unpacking)
    for at, layer in enumerate((mine, put_layer(unpacking, content(11_000)))):
        unpacking.layers.ensure([base, layer])
        cache.put(f"step{at}", step_record(layer, "", [base]))
        unpacking.layers.index(layer)
    put_layer(unpacking, content(13_000))
    with reopened(unpacking, store_root) as store:
        yield store


@pytest.mark.slow
def test_what_is_reclaimable_is_given_back(filled):
    before = on_disk(filled)
    found = usage(filled)
    assert sum(row.size for row in found.rows) == before
    rows = [row for row in found.rows if row.kind != "Cache mounts"]  # of which there are none
    assert all(0 < row.reclaimable <= row.size for row in rows)
    done = prune(filled)
    filled.close()
    freed = before - on_disk(filled)
    assert done.size == sum(row.reclaimable for row in found.rows) == freed
    assert [row.reclaimable for row in usage(filled).rows] == [0, 0, 0, 0, 0]


@pytest.mark.slow
def test_a_blob_that_is_a_part_of_an_unpacked_layer_counts_once(filled, store_root):
    """As where a driver keeps the plain tar of a layer, and links it as a blob."""
    if filled.driver().durable:
        pytest.skip("this driver does so by itself, and the other tests see it")
    before = on_disk(filled)
    ((name, chain, diff),) = filled.database.rows(
        "SELECT driver, chain, diff FROM layers ORDER BY used, chain LIMIT 1"
    )
    place = f"{filled.layout.drivers}/{name}/layers/{chain}/fs/tar"
    with open(place, "wb") as tar:
        tar.write(bytes(4321))
    os.link(place, f"{filled.layout.blobs}/sha256/{diff.removeprefix('sha256:')}")
    with reopened(filled, store_root) as store:
        found = usage(store)
        assert sum(row.size for row in found.rows) == before + 4321 == on_disk(store)
        done = prune(store, all_images=True)
        store.close()
        assert done.size == before + 4321
        assert on_disk(store) == 0


def test_shared_and_unique_sizes_of_images(store):
    base, other = put_layer(store, BASE), put_layer(store, content(3000))
    one = put_image(store, "r/one:1", base, other)
    store.refs.set("r/one:2", one.descriptor)  # another name is not another image
    put_image(store, "r/two:1", base)
    found = {image.name: image for image in usage(store).images}
    assert found["r/one:1"].shared == found["r/two:1"].shared == base.blob.size
    assert found["r/one:1"].unique == one.size - base.blob.size == found["r/one:2"].unique
    assert found["r/two:1"].containers == 0


def steps(store, *sizes):
    """Put steps with layers of so many bytes, the first one used longest ago."""
    for at, size in enumerate(sizes):
        layer = put_layer(store, [file(f"f{at}", os.urandom(size))])
        LocalCache(store).put(f"step{at}", step_record(layer, "", []))
        store.database.run("UPDATE cache SET used = ? WHERE key = ?", (1000.0 + at, f"step{at}"))


def keys(store):
    return sorted(row[0] for row in store.database.rows("SELECT key FROM cache"))


def test_the_least_recently_used_go_until_the_rest_fits(store):
    steps(store, 1000, 2000, 4000, 8000)
    total = size_of(usage(store).cache)
    assert 15_000 < total < 17_000
    assert prune_records(store, space=total) == 0
    assert prune_records(store, space=total - 1) == 1
    assert keys(store) == ["step1", "step2", "step3"]
    assert LocalCache(store).get("step1") is not None  # which is used now
    assert prune_records(store, space=11_000) == 1
    assert keys(store) == ["step1", "step3"]
    assert prune_records(store, space=0) == 2


def test_what_an_image_has_takes_nothing(store):
    steps(store, 1000, 2000)
    record = LocalCache(store).get("step0")
    put_image(store, "r/a:1", record.layer)
    assert prune_records(store, space=0) == 1  # a limit of 0 keeps what costs nothing
    assert keys(store) == ["step0"]


def test_steps_go_by_when_they_were_last_used(store):
    steps(store, 10, 10, 10)
    assert prune_records(store, until=1_001_000_000_000) == 1
    assert keys(store) == ["step1", "step2"]
    assert prune_records(store) == 2
