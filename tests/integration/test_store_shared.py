"""A store of somebody else's below one's own: its images are used, and nothing of it is touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from ocitool import Store
from ocitool.drivers.conformance.harness import run_inside
from ocitool.drivers.conformance.layers import file
from ocitool.errors import DriverUnavailable, StoreError
from ocitool.image.store_content import local_image
from ocitool.settings import Settings
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.prune import prune
from ocitool.store.maintenance.usage.usage import usage
from tests.fixtures.programs import execute
from tests.fixtures.stores import age, put_image, put_layer
from tests.fixtures.trees import remove_tree

NAME = "docker.io/library/shared:1"
BASE, TOP = [file("base", b"base" * 9000)], [file("top", b"top")]


def look(root):
    """All that a write, a lock or an open would change: names, sizes, and all times."""
    found = {}
    for path in (Path(root), *sorted(Path(root).rglob("*"))):
        state = path.lstat()
        times = (state.st_mtime_ns, state.st_ctime_ns)
        # Directories are read by this look itself, and layers by containers.
        quiet = not path.is_dir() and "/drivers/" not in str(path)
        found[str(path)] = (state.st_size, times, state.st_atime_ns if quiet else 0)
    return found


@pytest.fixture
def shared(session_tree):
    """The root of a store with one image, unpacked if that is possible; it is old."""
    place = Path(tempfile.mkdtemp(prefix="shared", dir=session_tree))
    with Store.open(str(place / "store")) as store:
        image = put_image(store, NAME, BASE, TOP)
        put_image(store, "docker.io/library/other:1", [file("other", b"o")])
        with contextlib.suppress(DriverUnavailable):
            store.layers.ensure(image.layers)
        age(store)
    yield str(place / "store")
    remove_tree(place)


@pytest.fixture
def untouched(shared):
    """The same; it is verified at the end that nothing was changed."""
    before = look(shared)
    yield shared
    assert look(shared) == before


@pytest.fixture
def both(untouched, store_root):
    """Return a function that opens an own store with the shared one below it."""

    def make(driver=None):
        flags = {"root": str(store_root), "shared_stores": untouched, "driver": driver}
        return Store(Settings.load(flags=flags))

    return make


def test_images_are_found_and_read(both):
    with both() as store:
        image = local_image(store, "shared:1")
        assert image.config.diff_ids
        assert store.find(image.id.encoded[:12]).digest == image.digest
        assert store.find(f"shared@{image.digest}").digest == image.digest
        assert "base" in {each.entry.path for each in store.layers.index(image.layers[0]).entries()}
        assert list(store.blobs.all()) == []


def test_an_own_name_hides_a_shared_one(both, run_cli):
    with both() as store:
        mine = put_image(store, NAME, [file("mine", b"m")])
        assert local_image(store, "shared:1").digest == mine.digest
        store.refs.remove(NAME)
        assert local_image(store, "shared:1").digest != mine.digest


def test_blobs_that_are_shared_are_not_stored_again(both):
    with both() as store:
        layer = local_image(store, NAME).layers[0]
        assert store.blobs.claim(layer.blob)
        mine = put_image(store, "docker.io/r/mine:1", layer, [file("mine", b"m")])
        assert layer.blob.digest not in set(store.blobs.all())
        assert "base" in {each.entry.path for each in store.layers.index(mine.layers[0]).entries()}
        store.refs.set("r/same:1", local_image(store, NAME).descriptor)
        assert list(check(store)) == []
        age(store)
    with both() as store:
        before = set(store.blobs.all())
        prune(store)
        assert set(store.blobs.all()) == before
        assert local_image(store, "docker.io/r/mine:1").layers[0] == layer
        prune(store, all_images=True)
        assert set(store.blobs.all()) == set()
        assert local_image(store, NAME).layers[0] == layer


# Its size alone: the kernel notes that it has read the content of a tar for an image.
SIZE = "import os; print(os.path.getsize('base'))"


def driver_of(store):
    """Return the driver; skips where none works."""
    try:
        return store.driver()
    except DriverUnavailable as error:
        pytest.skip(str(error))


def test_unpacked_layers_are_used_where_they_are(both, untouched):
    with both() as store:
        driver = driver_of(store)
        layers = local_image(store, NAME).layers
        names = store.layers.ensure(layers)
        place = Path(store.layout.drivers, driver.name, "layers")
        assert {path.name: path.is_symlink() for path in place.iterdir()} == dict.fromkeys(
            names, True
        )
        assert run_inside(driver.view(names), SIZE) == 36_000
        mine = put_layer(store, [file("mine", b"m")])
        on_top = store.layers.ensure([*layers, mine])
        assert not (place / on_top[-1]).is_symlink()
        if driver.name == "overlay":
            assert {row.kind: row.size for row in usage(store).rows}["Unpacked layers"] == 1
        assert list(check(store)) == []
        age(store)
    with both() as store:
        prune(store, all_images=True)
        assert list(place.iterdir()) == []


def test_layers_that_are_gone_there_are_unpacked_here(shared, store_root):
    flags = {"root": str(store_root), "shared_stores": shared}
    with Store(Settings.load(flags=flags)) as store:
        driver = driver_of(store)
        layers = local_image(store, NAME).layers
        names = store.layers.ensure(layers)
        gone = f"{shared}/drivers/{driver.name}"
        os.rename(gone, f"{gone}-away")  # as if its owner had pruned it
        try:
            assert store.layers.ensure(layers) == names
            place = Path(store.layout.drivers, driver.name, "layers")
            assert not any(path.is_symlink() for path in place.iterdir())
            assert list(check(store)) == []
        finally:
            os.rename(f"{gone}-away", gone)


def test_a_layer_without_a_row_is_not_believed(shared, store_root):
    Path(shared, "db.sqlite").write_bytes(b"no database")
    flags = {"root": str(store_root), "shared_stores": shared}
    with Store(Settings.load(flags=flags)) as store:
        driver = driver_of(store)
        store.layers.ensure(local_image(store, NAME).layers)
        place = Path(store.layout.drivers, driver.name, "layers")
        assert [path for path in place.iterdir() if path.is_symlink()] == []


def test_what_is_shared_cannot_be_removed(both, run_cli, untouched, store_root):
    with both() as store:
        store.lease()
    done = run_cli("--shared-stores", untouched, "rmi", "shared:1", root=store_root)
    assert (done.code, "is in a shared store" in done.stderr) == (1, True)


def test_the_commands_say_where_from(untouched, store_root, run_cli, tmp_path):
    env = {"OCITOOL_SHARED_STORES": untouched}

    def run(*words):
        return run_cli(*words, root=store_root, env=env).ok().stdout

    shown = run("images", "--format", "{{.Repository}}:{{.Tag}} {{.Store}}")
    assert sorted(shown.split("\n")) == ["", f"other:1 {untouched}", f"shared:1 {untouched}"]
    assert run("images", "shared").splitlines()[1].endswith(untouched)
    assert f"SharedStores: {untouched} (2 images)" in " ".join(run("info").split())
    run("tag", "shared:1", "mine:1")
    assert run("images", "--format", "{{.Store}}", "mine") == "\n"
    run("save", "-o", str(tmp_path / "saved.tar"), "shared:1")
    other = tmp_path / "other"
    run_cli("load", "-i", tmp_path / "saved.tar", root=other).ok()
    assert "shared" in run_cli("images", root=other).ok().stdout
    remove_tree(other)


def test_a_layer_of_an_earlier_boot_is_believed_once_it_is_durable(shared, store_root, run_cli):
    with Store.open(shared) as other:
        other.database.run("UPDATE layers SET boot = 'earlier'")
    flags = {"root": str(store_root), "shared_stores": shared}
    with Store(Settings.load(flags=flags)) as store:
        driver = driver_of(store)
        layers = local_image(store, NAME).layers
        names = store.layers.ensure(layers)
        place = Path(store.layout.drivers, driver.name, "layers")
        assert [path for path in place.iterdir() if path.is_symlink()] == []
        for name in reversed(names):
            driver.remove(name)
    with Store.open(shared) as other:
        other.layers.ensure(layers)
    run_cli("system", "prune", "-f", root=shared).ok()
    with Store.open(shared) as other:
        assert other.database.rows("SELECT DISTINCT boot FROM layers") == [("",)]
    with Store(Settings.load(flags=flags)) as store:
        store.layers.ensure(layers)
        assert all(path.is_symlink() for path in place.iterdir())


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_containers_and_builds_stand_on_shared_layers(
    tools_store, containers, store_root, run_cli, tmp_path, driver
):
    def run(*words, shared=(), root=store_root):
        return run_cli("--driver", driver, *shared, *words, root=root).ok().stdout

    run("run", "--rm", "tools:1", "true", root=tools_store)  # unpacked there
    shared = ("--shared-stores", str(tools_store))
    (tmp_path / "Dockerfile").write_text("FROM tools:1\nRUN echo made > /made\n")
    run("build", "-q", "-t", "mine:1", str(tmp_path), shared=shared)
    assert run("run", "--rm", "mine:1", "cat", "/made", shared=shared) == "made\n"
    layers = Path(store_root, "drivers", driver, "layers")
    assert sorted(path.is_symlink() for path in layers.iterdir()) == [False, True]


def test_a_read_only_file_system_will_do(root_only, untouched, session_tree, store_root, run_cli):
    place = tempfile.mkdtemp(prefix="ro", dir=session_tree)
    done = execute(["mount", "--bind", untouched, place])
    if done.code != 0:
        pytest.skip(f"needs to mount: {done.stderr.strip()}")
    try:
        execute(["mount", "-o", "remount,bind,ro", place]).ok()
        flags = {"root": str(store_root), "shared_stores": place}
        with Store(Settings.load(flags=flags)) as store:
            image = local_image(store, NAME)
            store.layers.ensure(image.layers)
            assert "base" in {
                each.entry.path for each in store.layers.index(image.layers[0]).entries()
            }
        run_cli("--shared-stores", place, "images", root=store_root).ok()
    finally:
        execute(["umount", place]).ok()


def test_another_user_may_use_it(ordinary_user, session_tree, run_cli):
    place = Path(tempfile.mkdtemp(prefix="user", dir=session_tree))
    with Store.open(str(place / "store")) as store:
        put_image(store, NAME, BASE)
    execute(["chmod", "-R", "a+rX", str(place)]).ok()
    before = look(place)
    own = ordinary_user.home / "own"

    def run(*words):
        shared = str(place / "store")
        return run_cli("--shared-stores", shared, *words, root=own, user=ordinary_user).ok().stdout

    assert run("images", "-q").strip()
    run("save", "-o", str(ordinary_user.home / "saved.tar"), "shared:1")
    run("tag", "shared:1", "mine:1")
    assert run("system", "check", "--progress=quiet") == "No problems found\n"
    after = look(place)
    assert {path: found[:2] for path, found in after.items()} == {
        path: found[:2] for path, found in before.items()
    }
    shutil.rmtree(own, ignore_errors=True)


@pytest.mark.parametrize("what", ["missing", "itself", "no store"])
def test_what_is_no_other_store_is_refused(store_root, tmp_path, what):
    root = {"missing": tmp_path / "none", "itself": store_root, "no store": tmp_path}[what]
    with Store.open(str(store_root)):
        pass
    flags = {"root": str(store_root), "shared_stores": str(root)}
    with pytest.raises(StoreError) as caught:
        Store(Settings.load(flags=flags))
    assert caught.value.where == str(root)
    assert not (tmp_path / "none").exists()
