"""A check finds what is corrupt or missing, and its remedy repairs it."""

from __future__ import annotations

import os
import shutil

import pytest

from ocitool.drivers.conformance.layers import file
from ocitool.errors import DigestMismatch, DriverUnavailable, OcitoolError
from ocitool.layer.beneath import remove_tree
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.prune import prune
from tests.fixtures.stores import age, put_image

LAYERS = ([file("f", os.urandom(50_000))], [file("g", b"2")])


def problems(store):
    return [f"{problem.what} / {problem.remedy}" for problem in check(store)]


def test_a_whole_store_has_no_problems(store):
    assert problems(store) == []
    put_image(store, "r/a:1", *LAYERS)
    put_image(store, "", LAYERS[1])
    assert problems(store) == []


def test_a_flipped_byte_is_found(store):
    image = put_image(store, "r/a:1", *LAYERS)
    path = store.blobs.path(image.layers[0].blob.digest)
    with open(path, "r+b") as blob:
        blob.seek(20_000)
        byte = blob.read(1)
        blob.seek(20_000)
        blob.write(bytes([byte[0] ^ 1]))
    (problem,) = problems(store)
    assert f"blob {image.layers[0].blob.digest} is corrupt" in problem
    os.unlink(path)  # as the remedy says
    put_image(store, "r/a:1", *LAYERS)
    assert problems(store) == []


def test_missing_and_short_blobs_are_found(store):
    image = put_image(store, "r/a:1", *LAYERS)
    os.unlink(store.blobs.path(image.layers[1].blob.digest))
    (problem,) = problems(store)
    assert f"r/a:1: blob {image.layers[1].blob.digest} is missing" in problem
    assert "ocitool pull r/a:1" in problem
    put_image(store, "r/a:1", *LAYERS)
    os.truncate(store.blobs.path(image.descriptor.digest), 9)
    (problem,) = problems(store)
    assert f"blob {image.descriptor.digest} is corrupt, needed by r/a:1" in problem
    os.unlink(store.blobs.path(image.descriptor.digest))
    (problem,) = problems(store)
    assert "manifest" in problem
    assert "is missing" in problem


@pytest.mark.slow
def test_a_lost_layer_is_found_and_unpacked_again(unpacking):
    image = put_image(unpacking, "r/a:1", *LAYERS)
    names = unpacking.layers.ensure(image.layers)
    driver = unpacking.driver()
    driver.remove(names[1])  # behind the store's back
    (problem,) = problems(unpacking)
    assert f"layer {names[1][:12]} of driver {driver.name} is missing its directory" in problem
    assert "system check --repair`" in problem
    unpacking.layers.ensure(image.layers)
    assert problems(unpacking) == []
    assert set(driver.layers()) == set(names)


def test_a_driver_that_is_gone_is_reported(store):
    store.database.run("INSERT INTO layers VALUES ('c', 'gone', 'd', '', '', 1, 1)")
    (problem,) = problems(store)
    assert "driver gone" in problem


@pytest.mark.slow
def test_the_check_runs_for_everybody(store, run_cli):
    image = put_image(store, "r/a:1", *LAYERS)
    done = run_cli("system", "check", root=store.layout.root)
    assert done.ok().stdout == "No problems found\n"
    os.unlink(store.blobs.path(image.descriptor.digest))
    done = run_cli("system", "check", root=store.layout.root)
    assert done.code == 1
    assert "is missing" in done.stdout


@pytest.mark.slow
def test_a_store_survives_the_loss_of_what_can_be_made_again(unpacking, run_cli):
    """The layout is the truth: without the rest an image is as usable as before."""
    image = put_image(unpacking, "r/a:1", *LAYERS)
    unpacking.layers.ensure(image.layers)
    root = unpacking.layout.root
    unpacking.close()
    for name in os.listdir(root):
        if name.startswith("db.sqlite"):
            os.unlink(f"{root}/{name}")
    shutil.rmtree(f"{root}/indexes")
    os.mkdir(f"{root}/indexes")
    try:
        remove_tree(f"{root}/drivers")
    except (OSError, OcitoolError):
        shutil.rmtree(f"{root}/drivers", ignore_errors=True)
    os.makedirs(f"{root}/drivers", exist_ok=True)
    assert run_cli("images", "-q", root=root).ok().stdout.strip() == image.id.short
    # The plain tars that a driver kept are unreferenced now, which is not a problem.
    assert run_cli("system", "check", root=root).ok().stdout.endswith("No problems found\n")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["image", "tar"])
def test_a_layer_that_has_lost_a_part_is_made_again(store, part):
    image = put_image(store, "docker.io/r/a:1", *LAYERS)
    try:
        names = store.layers.ensure(image.layers)
    except DriverUnavailable as error:
        pytest.skip(str(error))
    if store.driver().name != "erofs":
        pytest.skip("of erofs")
    os.unlink(f"{store.layout.drivers}/erofs/layers/{names[0]}/{part}")
    assert len(problems(store)) >= 1
    store.layers.view(image.layers)
    assert problems(store) == []
    os.unlink(f"{store.layout.drivers}/erofs/layers/{names[0]}/{part}")
    age(store)
    prune(store, all_images=True)
    assert os.listdir(f"{store.layout.drivers}/erofs/layers") == []


def test_corruption_here_is_repaired_here(store):
    image = put_image(store, "r/a:1", *LAYERS)
    with open(store.blobs.path(image.digest), "r+b") as blob:
        blob.write(b" ")
    with pytest.raises(DigestMismatch) as caught:
        store.blobs.read(image.descriptor)
    assert caught.value.hint == "run `ocitool system check --repair`"


def test_a_store_without_its_names_is_not_whole(store):
    put_image(store, "r/a:1", *LAYERS)
    os.unlink(f"{store.layout.oci}/index.json")
    reported = problems(store)
    assert any("no image has a name any more / restore a copy of it" in each for each in reported)
