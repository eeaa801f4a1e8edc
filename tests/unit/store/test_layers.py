"""Unpacked layers: made when they are needed, whole or not there, made again when in doubt."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ocitool import Store
from ocitool.drivers.conformance.harness import LIST, run_inside
from ocitool.drivers.conformance.layers import directory, file, whiteout
from ocitool.errors import DigestMismatch, LayerError, OcitoolError
from ocitool.oci.digest import Digest
from ocitool.progress import Transfer
from ocitool.store.layer_content import Layer, chain_ids
from ocitool.store.maintenance.prune import prune
from tests.fixtures.stores import age, put_image, put_layer

LOW = [directory("d"), file("d/f", b"low"), file("gone", b"1")]
HIGH = [file("d/g", b"high"), whiteout("gone")]


def trees(store):
    return list(store.driver().trees()), sorted(store.driver().layers())


@pytest.mark.slow
def test_layers_are_unpacked_once(unpacking):
    image = put_image(unpacking, "r/a:1", LOW, HIGH)
    names = unpacking.layers.ensure(image.layers)
    assert names == chain_ids(image.layers)
    assert trees(unpacking) == ([], sorted(names))
    rows = unpacking.database.rows("SELECT chain, parent, made FROM layers ORDER BY made")
    assert [row[:2] for row in rows] == [(names[0], ""), (names[1], names[0])]
    unpacking.layers.ensure(image.layers)
    assert unpacking.database.rows("SELECT chain, parent, made FROM layers ORDER BY made") == rows
    seen = run_inside(unpacking.layers.view(image.layers), LIST)
    assert sorted(seen) == [".", "d", "d/f", "d/g"]


class Events(list):
    def emit(self, event):
        self.append(event)


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
def test_what_is_unpacked_of_a_large_layer_is_reported(unpacking, codec):
    layer = put_layer(unpacking, [file("noise", os.urandom(3 << 20))], codec)
    events = Events()
    unpacking.layers.ensure([layer], events)
    first, *between, last = (event for event in events if isinstance(event, Transfer))
    assert (first.done, first.state, last.done, last.state) == (0, "running", last.total, "done")
    done = [event.done for event in between]
    assert len(done) >= 3
    assert done == sorted(done)
    assert {event.total for event in between} == {layer.blob.size}
    assert done[-1] <= layer.blob.size


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
def test_every_compression_is_unpacked(unpacking, codec):
    layer = put_layer(unpacking, LOW, codec)
    unpacking.layers.ensure([layer])
    assert unpacking.driver().usage(chain_ids([layer])[0]).size >= 4


@pytest.mark.slow
def test_a_layer_that_is_not_its_diff_id_is_refused(unpacking):
    low, high = put_layer(unpacking, LOW), put_layer(unpacking, HIGH)
    wrong = Layer(diff_id=Digest.of(b"another"), blob=high.blob)
    with pytest.raises(DigestMismatch):
        unpacking.layers.ensure([low, wrong])
    assert trees(unpacking) == ([], [chain_ids([low])[0]])
    assert len(unpacking.database.rows("SELECT * FROM layers")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 1, 40, -9], ids=["nothing", "a byte", "the head", "a tail"])
def test_a_corrupt_blob_leaves_nothing(unpacking, keep):
    layer = put_layer(unpacking, [*LOW, file("large", os.urandom(100_000))])
    path = unpacking.blobs.path(layer.blob.digest)
    os.truncate(path, keep if keep >= 0 else layer.blob.size + keep)
    with pytest.raises(OcitoolError):
        unpacking.layers.ensure([layer])
    assert trees(unpacking) == ([], [])


@pytest.mark.slow
def test_layers_whose_directories_are_gone_are_unpacked_again(with_driver, store_root):
    """All but the layout may be removed, and a power cut may bring back a row alone."""
    image = put_image(with_driver, "r/a:1", LOW, HIGH)
    names = with_driver.layers.ensure(image.layers)
    driver = with_driver.driver().name
    with_driver.close()
    shutil.rmtree(store_root / "drivers" / driver)
    with Store.open(str(store_root), driver=driver) as store:
        seen = run_inside(store.layers.view(image.layers), LIST)
        assert sorted(seen) == [".", "d", "d/f", "d/g"]
        assert trees(store) == ([], sorted(names))


@pytest.mark.slow
def test_what_an_earlier_boot_unpacked_is_unpacked_again(unpacking):
    """A power cut may have come before the kernel wrote it: its files may be empty."""
    image = put_image(unpacking, "r/a:1", LOW, HIGH)
    names = unpacking.layers.ensure(image.layers)
    home = unpacking.layout.drivers + "/" + unpacking.driver().name
    for name in names:
        for folder, _, found in os.walk(f"{home}/layers/{name}"):
            for each in found:
                place = f"{folder}/{each}"
                if os.path.isfile(place) and os.access(place, os.W_OK):
                    os.truncate(place, 0)
    unpacking.database.run("UPDATE layers SET boot = 'an earlier one'")
    unpacking.layers.ensure(image.layers)
    assert unpacking.driver().usage(names[0]).size >= 4
    boots = {row[0] for row in unpacking.database.rows("SELECT boot FROM layers")}
    assert "an earlier one" not in boots


@pytest.mark.slow
def test_what_is_settled_survives_a_boot(with_driver):
    unpacking = with_driver
    image = put_image(unpacking, "r/a:1", LOW, HIGH)
    names = unpacking.layers.ensure(image.layers)
    unpacking.database.run("UPDATE layers SET made = made - 3600 WHERE chain = ?", (names[0],))
    unpacking.layers.make_durable()
    rows = dict(unpacking.database.rows("SELECT chain, boot FROM layers"))
    assert rows[names[0]] == ""
    assert (rows[names[1]] == "") == unpacking.driver().durable  # it was synced at once


@pytest.mark.slow
def test_a_crash_between_rename_and_row_is_repaired(unpacking):
    image = put_image(unpacking, "r/a:1", LOW, HIGH)
    names = unpacking.layers.ensure(image.layers)
    unpacking.database.run("DELETE FROM layers")
    assert unpacking.layers.ensure(image.layers) == names
    assert len(unpacking.database.rows("SELECT * FROM layers")) == 2


@pytest.mark.slow
def test_a_changed_tree_becomes_a_layer(with_driver):
    unpacking = with_driver
    low = put_layer(unpacking, LOW)
    with unpacking.layers.prepare([low]) as tree:
        run_inside(tree.mounts, "import os; os.unlink('gone'); open('new', 'w').write('new')")
        layer = unpacking.layers.commit(tree, [low], clamp=1000)
    names = chain_ids([low, layer])
    assert trees(unpacking) == ([], sorted(names))
    home = f"{unpacking.layout.drivers}/{unpacking.driver().name}"
    kept = ["fs"] if not unpacking.driver().tar(names[1]) else ["image", "tar"]
    assert sorted(os.listdir(f"{home}/layers/{names[1]}")) == kept  # no work directory, no marks
    # What is unpacked from its blob is what was committed.
    before = run_inside(unpacking.layers.view([low, layer]), LIST)
    unpacking.driver().remove(names[1])
    unpacking.database.run("DELETE FROM layers WHERE chain = ?", (names[1],))
    after = run_inside(unpacking.layers.view([low, layer]), LIST)
    del before["."]["time"], after["."]["time"]
    assert before == after
    assert sorted(after) == [".", "d", "d/f", "new"]


def test_a_tree_goes_with_its_use(unpacking):
    low = put_layer(unpacking, LOW)
    with pytest.raises(RuntimeError), unpacking.layers.prepare([low]) as tree:
        assert trees(unpacking)[0] == [tree.key]
        raise RuntimeError
    assert trees(unpacking)[0] == []


def test_a_tree_may_stand_on_nothing(unpacking):
    with unpacking.layers.prepare([]) as tree:
        run_inside(tree.mounts, "open('f', 'w').close()")
        layer = unpacking.layers.commit(tree, [])
    assert [placed.entry.path for placed in unpacking.layers.index(layer).entries()] == ["f"]


@pytest.mark.parametrize("stored", [b"corrupt", b"", b'["d","dir",493,0,0,0,0,"",[0,0],{},512]\n'])
def test_the_index_of_a_layer_is_kept_and_repaired(store, stored):
    layer = put_layer(store, LOW)
    path = f"{store.layout.indexes}/{layer.diff_id.encoded}"
    first = store.layers.index(layer)
    with open(path, "rb") as file:
        kept = file.read()
    with open(path, "wb") as out:
        out.write(stored)  # the last one is as earlier versions wrote it
    assert store.layers.index(layer) == first
    with open(path, "rb") as file:
        assert file.read() == kept
    entries = {placed.entry.path: placed.entry for placed in first.entries()}
    assert entries["d/f"].size == 3


def test_a_stranger_instead_of_a_driver_disturbs_nobody(store):
    os.makedirs(f"{store.layout.drivers}/unknown/trees/x-1")
    store.sweep()
    assert os.path.isdir(f"{store.layout.drivers}/unknown/trees/x-1")


@pytest.mark.slow
def test_a_choice_of_driver_is_remembered(unpacking, store_root):
    choice = replace(unpacking.choose_driver(), new=False)
    assert os.path.exists(f"{unpacking.layout.drivers}/choice.json")
    with Store.open(str(store_root)) as again:
        assert again.choose_driver() == choice
    with open(f"{unpacking.layout.drivers}/choice.json", "w") as file:
        file.write("corrupt")
    with Store.open(str(store_root)) as again:
        assert again.choose_driver() == replace(choice, new=True)
    assert isinstance(LayerError("x"), OcitoolError)


def test_a_kept_tar_is_a_blob_and_lies_on_the_disk_once(with_driver):
    image = put_image(with_driver, "r/a:1", LOW)
    (name,) = with_driver.layers.ensure(image.layers)
    blob = with_driver.blobs.path(image.layers[0].diff_id)
    tar = with_driver.driver().tar(name)
    assert os.path.exists(blob) == bool(tar)
    if tar:
        assert os.path.samefile(tar, blob)
        with closing(with_driver.layers.open(image.layers[0])) as stream:
            assert stream.read() == Path(blob).read_bytes()
        prune(with_driver)
        assert os.path.exists(blob)
        with_driver.refs.drop([image.digest])
        age(with_driver)
        prune(with_driver)
        assert not os.path.exists(blob)
        assert list(with_driver.driver().layers()) == []


def test_a_layer_that_came_plain_is_not_kept_twice(with_driver):
    layer = put_layer(with_driver, LOW, "none")
    (name,) = with_driver.layers.ensure([layer])
    if not (tar := with_driver.driver().tar(name)):
        pytest.skip("this driver keeps no tars")
    assert os.path.samefile(tar, with_driver.blobs.path(layer.blob.digest))
