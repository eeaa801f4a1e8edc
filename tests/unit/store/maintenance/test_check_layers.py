"""What is corrupt in unpacked layers and in the database is reported, and what stands on it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import time

import pytest

from ocitool import Store
from ocitool.drivers import erofs
from ocitool.drivers.conformance.layers import file
from ocitool.errors import ImageNotFound
from ocitool.image.repair import Repaired, repair
from ocitool.image.store_content import local_image
from ocitool.oci.digest import Digest
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.prune import prune
from ocitool.store.maintenance.remove import remove_image
from ocitool.store.maintenance.unreferenced import unreferenced_data
from tests.fixtures.stores import age, files_below, put_image

pytestmark = pytest.mark.slow

DIGEST = Digest.of(b"a blob")
NAME = "docker.io/library/a:1"


def stacked(store, count=5):
    """Unpack an image of so many layers, an hour ago; returns their names, the lowest first."""
    layers = [[file(f"f{at}", b"%d" % at), file("same", b"s" * at)] for at in range(count)]
    names = store.layers.ensure(put_image(store, NAME, *layers).layers)
    for layer in local_image(store, NAME).layers:
        store.layers.index(layer)
    store.summaries.of([str(local_image(store, NAME).digest)])
    age(store)
    return names


def place(store, layer):
    """Return a file that has a part of a layer's content or names."""
    home = f"{store.layout.drivers}/{store.driver().name}/layers/{layer}"
    return f"{home}/image" if store.driver().name == "erofs" else f"{home}/fs/same"


def test_an_index_of_an_earlier_version_is_no_problem(store):
    layer = put_image(store, NAME, [file("b", b"b"), file("a", b"a")]).layers[0]
    path = f"{store.layout.indexes}/{layer.diff_id.encoded}"
    for stored, is_reported in (
        (b'["a","file",420,0,0,1,0,"",[0,0],{},1536]\n', False),
        (b"", False),
        (b'{"version":2,"tree":true}\n["b","file",420,0,0,1,0,512]\n', True),
        (b'{"version":3}\n', True),
    ):
        with open(path, "wb") as index:
            index.write(stored)
        faults = [what for what in reported(store) if what == f"layer index {path} is corrupt"]
        assert bool(faults) is is_reported, stored
    assert len(store.layers.index(layer).entries()) == 2
    assert reported(store) == []


def reported(store):
    return [problem.what for problem in check(store)]


def repaired(root, driver):
    """Repair in one run; nothing is left, and the image can be shown again."""
    with Store.open(root, driver=driver) as store:
        results = list(repair(store))
        assert [each for each in results if not isinstance(each, Repaired)] == []
        assert reported(store) == []
        store.layers.view(local_image(store, NAME).layers)
        assert reported(store) == []
    return results


@pytest.mark.parametrize(
    "act",
    [
        "cut",
        pytest.param("flip", marks=pytest.mark.campaign),
        "remove",
        pytest.param("other", marks=pytest.mark.campaign),
    ],
)
def test_three_layers_at_once(with_driver, act):
    names = stacked(with_driver)
    for layer in names[::2]:
        path = place(with_driver, layer)
        with open(path, "r+b") as corrupt:
            if act == "cut":
                corrupt.truncate(os.stat(path).st_size // 2)
            elif act == "flip":
                corrupt.write(b"?")
            elif act == "other":
                with open(place(with_driver, names[1]), "rb") as other:
                    corrupt.write(other.read())
        if act == "remove":
            os.unlink(path)
    found = reported(with_driver)
    assert all(any(f"layer {layer[:12]} " in each for each in found) for layer in names)
    root, driver = with_driver.layout.root, with_driver.driver().name
    with_driver.close()
    repaired(root, driver)


def test_what_stands_on_a_corrupt_layer_goes_with_it(with_driver):
    names = stacked(with_driver)
    os.unlink(place(with_driver, names[2]))
    found = reported(with_driver)
    assert [each.split()[1] for each in found] == [layer[:12] for layer in names[2:]]
    assert [f"has the parent {names[at][:12]}, which is corrupt" in found[at - 1] for at in (2, 3)]
    root, driver = with_driver.layout.root, with_driver.driver().name
    with_driver.close()
    with Store.open(root, driver=driver) as store:
        list(repair(store))
        assert sorted(store.driver().layers()) == sorted(names[:2])
    repaired(root, driver)


def test_a_layer_without_its_tree_is_unpacked_again(with_driver):
    if with_driver.driver().name == "erofs":
        pytest.skip("has no trees")
    names = stacked(with_driver, 2)
    os.rename(os.path.dirname(place(with_driver, names[1])), f"{with_driver.layout.root}/tmp/gone")
    assert f"layer {names[1][:12]}" in reported(with_driver)[0]
    with_driver.layers.view(local_image(with_driver, NAME).layers)
    assert reported(with_driver) == []


def test_a_merged_image_of_other_layers_is_reported(store, monkeypatch):
    if store.driver().name != "erofs":
        pytest.skip("of erofs")
    monkeypatch.setattr(erofs, "_MOST_STACKED", 1)
    names = stacked(store, 4)
    store.layers.view(local_image(store, NAME).layers[:2])
    store.layers.view(local_image(store, NAME).layers)
    merged = f"{store.layout.drivers}/erofs/merged"
    assert sorted(os.listdir(merged)) == sorted((names[1], names[3]))
    assert reported(store) == []  # whether it was made from layers or from another merged one
    with open(f"{merged}/{names[1]}", "rb") as other:
        data = other.read()
    with open(f"{merged}/{names[3]}", "wb") as corrupt:
        corrupt.write(data)
    assert [names[3][:12] in each for each in reported(store)] == [True]


def test_what_stands_on_nothing_is_no_use_and_goes(with_driver):
    """A collection may leave it: what is below was used longer ago."""
    names = stacked(with_driver, 4)
    age(with_driver)
    with_driver.database.run("UPDATE layers SET used = used + 5000 WHERE parent <> ''")
    with_driver.refs.remove(NAME)
    began = int((time.time() - 3600) * 1e9)
    lease = f"{with_driver.layout.tmp}/{began:016x}00000000"
    with_driver.close()
    os.mkdir(lease)
    with held(lease):
        prune(with_driver)
    assert sorted(with_driver.driver().layers()) == sorted(names[1:])
    assert reported(with_driver) == []
    with_driver.database.run("UPDATE layers SET used = 1")
    with_driver.close()
    assert any(
        "3 layers" in line and "whose parents are gone" in line
        for line in unreferenced_data(with_driver)
    )
    assert list(repair(with_driver)) == []
    assert list(with_driver.driver().layers()) == []


@contextlib.contextmanager
def held(directory):
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


ROWS = (
    "UPDATE layers SET diff = 'sha256:{0:064x}'",
    "UPDATE layers SET parent = '{0:064x}'",
    "UPDATE layers SET parent = chain",
    "UPDATE layers SET chain = '../../oci' WHERE parent = ''",
    "UPDATE layers SET driver = '..'",
    "UPDATE packed SET diff = 'sha256:{0:064x}'",
    "UPDATE packed SET codec = 'none'",
    "UPDATE packed SET digest = 'x' || digest",
    "UPDATE images SET size = size + 1",
    "UPDATE images SET id = 'sha256:{0:064x}'",
    "INSERT INTO cache VALUES ('k', '{{', 1)",
    "INSERT INTO origins VALUES ('sha256:x', 'r')",
)


@pytest.mark.parametrize("change", ROWS)
def test_a_row_that_holds_what_is_not_so(unpacking, change):
    names = stacked(unpacking, 3)
    unpacking.database.run(change.format(7))
    blobs = files_below(unpacking.layout.blobs)
    assert reported(unpacking) != []
    root, driver = unpacking.layout.root, unpacking.driver().name
    unpacking.close()
    repaired(root, driver)
    assert len(names) == 3
    assert set(blobs) - set(files_below(f"{root}/oci/blobs")) == set()


def test_a_step_that_is_said_to_have_made_another_layer(unpacking):
    stacked(unpacking, 2)
    blob = local_image(unpacking, NAME).layers[0].blob
    record = {
        "created": "",
        "blob": str(blob.digest),
        "size": blob.size,
        "media_type": blob.media_type,
        "diff_id": f"sha256:{7:064x}",
        "name": "",
    }
    unpacking.database.run("INSERT INTO cache VALUES ('k', ?, 1)", (json.dumps(record),))
    assert reported(unpacking) == ["wrong row in the database: cache, key k"]
    (result,) = repair(unpacking)
    assert isinstance(result, Repaired)
    assert unpacking.database.rows("SELECT * FROM cache") == []


def test_what_else_is_known_of_a_blob_stays(store):
    store.note_origin(DIGEST, "r/a")
    store.database.run("INSERT INTO origins VALUES (?, '/')", (str(DIGEST),))
    (result,) = repair(store)
    assert isinstance(result, Repaired)
    assert store.origins(DIGEST) == ("r/a",)


DATABASES = (
    "DROP TABLE packed",
    "ALTER TABLE layers RENAME COLUMN boot TO boat",
    "INSERT INTO packed VALUES (CAST(x'ff' AS TEXT), '', '')",
    "PRAGMA user_version = 2",
)


@pytest.mark.parametrize("change", DATABASES)
def test_a_database_that_is_whole_and_not_ours_is_made_again(unpacking, change):
    stacked(unpacking, 3)
    root, driver = unpacking.layout.root, unpacking.driver().name
    unpacking.close()
    with contextlib.closing(sqlite3.connect(f"{root}/db.sqlite")) as database:
        database.execute(change)
        database.commit()
    with Store.open(root, driver=driver) as again:
        assert [each.partition(":")[0] for each in reported(again)] == ["the database is corrupt"]
    repaired(root, driver)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b'{"imageLayoutVersion":"2"}'])
def test_the_layout_file_is_written_again(store, content):
    path = f"{store.layout.oci}/oci-layout"
    with open(path, "rb") as file:
        before = file.read()
    os.unlink(path)
    if content is not None:
        with open(path, "wb") as file:
            file.write(content)
    (problem,) = reported(store)
    assert problem.startswith(path)
    (result,) = repair(store)
    assert isinstance(result, Repaired)
    with open(path, "rb") as file:
        assert file.read() == before


def test_without_names_the_rest_is_looked_at_and_kept(store):
    image = put_image(store, NAME, [file("f", b"1" * 999)])
    os.truncate(store.blobs.path(image.layers[0].blob.digest), 9)
    os.unlink(f"{store.layout.oci}/oci-layout")
    with open(store.layout.index, "w") as names:
        names.write("{")
    age(store)
    before = files_below(store.layout.blobs)
    index, layout, blob = reported(store)
    assert "index.json" in index
    assert "oci-layout" in layout
    assert str(image.layers[0].blob.digest) in blob
    assert [isinstance(each, Repaired) for each in repair(store)] == [False, True, False]
    assert files_below(store.layout.blobs) == before


class Meanwhile:
    """Does something once, when a check comes to an unpacked layer or to a blob."""

    def __init__(self, which, work):
        self._which = which
        self._work = work

    def emit(self, event):
        if self._which in getattr(event, "key", "") and (work := self._work):
            self._work = None
            work()


@pytest.mark.parametrize("at", ["sha256:", "layer"])
def test_what_is_removed_meanwhile_is_not_wrong(with_driver, at):
    names = stacked(with_driver, 3)

    def work():
        with Store.open(with_driver.layout.root) as other:
            remove_image(other, NAME)

    with_driver.close()
    sink = Meanwhile(names[0] if at == "layer" else at, work)
    assert list(check(with_driver, sink)) == []
    with pytest.raises(ImageNotFound):
        with_driver.find(NAME)
