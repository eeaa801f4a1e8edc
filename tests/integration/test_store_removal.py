"""A removal is done when the layer is out of sight; its files go when the command has ended."""

from __future__ import annotations

import hashlib
import json
import os
import select

import pytest

from ocitool import Store
from ocitool.drivers import trash
from ocitool.drivers.conformance.layers import directory, file, hardlink, tar
from ocitool.errors import DriverUnavailable
from ocitool.oci.platform import this_platform
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.remove import remove_image
from tests.fixtures.stores import LARGE as NAME
from tests.fixtures.stores import age, large, put_image, put_layer


@pytest.fixture
def unpacked(store_root):
    """A store with one unpacked image; returns its driver's trash."""
    with Store.open(str(store_root)) as store:
        image = put_image(store, NAME, put_layer(store, large(1, files=900)))
        try:
            store.layers.ensure(image.layers)
        except DriverUnavailable as error:
            pytest.skip(str(error))
        age(store)
        return f"{store.layout.drivers}/{store.driver().name}/trash"


def test_a_command_that_may_not_leave_a_process_empties_the_trash(unpacked, store_root, run_cli):
    run_cli("rmi", NAME, root=store_root, env={"OCITOOL_BACKGROUND": "no"}).ok()
    assert os.listdir(unpacked) == []


@pytest.mark.parametrize("words", [("rmi", NAME), ("system", "prune", "-af")])
def test_a_removal_goes_on_after_the_command(unpacked, store_root, run_cli, words):
    """The caller reads our output to its end: it must not wait for the process that is left."""
    run_cli(*words, root=store_root, env={"OCITOOL_BACKGROUND": "yes"}).ok()
    wait_for_cleaners(unpacked)
    assert os.listdir(unpacked) == []
    with Store.open(str(store_root)) as store:
        assert list(check(store)) == []
        assert list(store.driver().layers()) == []


def wait_for_cleaners(place):
    for process in cleaners(place):
        assert select.select([process], [], [], 60)[0]
        os.close(process)


def cleaners(place):
    """Yield a descriptor for each process that empties *place*."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            process = os.pidfd_open(int(name))
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:  # gone meanwhile
            continue
        if b"ocitool.drivers.trash" in words and place.encode() in words:
            yield process
        else:
            os.close(process)


def test_little_is_removed_at_once(unpacked, store_root, run_cli, monkeypatch):
    """The tree of a container that wrote a few files is not worth a process."""
    run_cli("rmi", NAME, root=store_root).ok()
    monkeypatch.setenv("OCITOOL_BACKGROUND", "yes")
    monkeypatch.setattr(trash, "start", None)
    with Store.open(str(store_root)) as store:
        layer = put_layer(store, [file(f"f{at}", b"1") for at in range(50)])
        with store.layers.prepare([layer]):
            pass
    assert os.listdir(unpacked) == []


@pytest.mark.parametrize("background", ["no", "yes"])
def test_large_blobs_go_when_the_command_has_ended(store_root, run_cli, monkeypatch, background):
    with Store.open(str(store_root)) as store:
        put_image(store, NAME, put_layer(store, large(2, files=4000)))  # of noise: 36 MB
        age(store)
    env = {"OCITOOL_BACKGROUND": background}
    run_cli("rmi", NAME, root=store_root, env=env).ok()
    wait_for_cleaners(f"{store_root}/trash")
    assert os.listdir(store_root / "trash") == []
    assert os.listdir(store_root / "oci/blobs/sha256") == []


def test_who_waits_for_no_removal_of_a_large_blob(store_root, run_cli, monkeypatch):
    with Store.open(str(store_root)) as store:
        put_image(store, NAME, put_layer(store, large(2, files=4000)))
        age(store)
    started = []
    monkeypatch.setattr(trash, "start", started.append)
    monkeypatch.setenv("OCITOOL_BACKGROUND", "yes")
    with Store.open(str(store_root)) as store:
        remove_image(store, NAME)
    assert started == [[f"{store_root}/trash"]]
    assert len(os.listdir(store_root / "trash")) == 1


UNPACK = """
import sys
from ocitool import Store
from ocitool.image.store_content import local_image
with Store.open(sys.argv[1]) as store:
    store.layers.ensure(local_image(store, sys.argv[2]).layers)
"""


@pytest.mark.parametrize("background", ["no", "yes"])
def test_files_of_foreign_ids_go_as_well(ordinary_user, store_root, run_cli, tmp_path, background):
    """As an ordinary user: through a user namespace, here or in the process that is left."""
    members = [directory("d", (1234, 60_000), 0o700), file("d/f", b"content", (1234, 60_000))]
    with Store.open(str(store_root)) as store:
        put_image(store, NAME, put_layer(store, members))
    archive = ordinary_user.home / f"{background}.tar"
    run_cli("save", "-o", archive, NAME, root=store_root).ok()
    archive.chmod(0o644)
    root = ordinary_user.home / f"store-{background}"
    run_cli("load", "-i", archive, root=root, user=ordinary_user).ok()
    done = ordinary_user.run(ordinary_user.python, "-c", UNPACK, root, NAME)
    if "cannot be unpacked" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    done.ok()
    (driver,) = [path for path in (root / "drivers").iterdir() if (path / "layers").is_dir()]
    assert len(os.listdir(driver / "layers")) == 1
    env = {"OCITOOL_BACKGROUND": background}
    run_cli("rmi", NAME, root=root, user=ordinary_user, env=env).ok()
    assert os.listdir(driver / "layers") == []
    wait_for_cleaners(str(driver / "trash"))
    assert os.listdir(driver / "trash") == []


def test_what_a_killed_process_has_left_goes_with_the_next_command(
    unpacked, store_root, run_cli, monkeypatch
):
    monkeypatch.setattr(trash, "start", lambda paths: 0)  # one that dies before its first file
    monkeypatch.setattr(trash, "_FEW", 0)  # nothing is so little that none is started
    monkeypatch.setenv("OCITOOL_BACKGROUND", "yes")
    with Store.open(str(store_root)) as store:
        store.sweep()
        store.refs.remove(NAME)
        store.database.run("DELETE FROM layers")
        for layer in list(store.driver().layers()):
            store.driver().remove(layer)
    assert os.listdir(unpacked) != []
    run_cli("images", root=store_root).ok()  # which only reads, and leaves it
    assert os.listdir(unpacked) != []
    run_cli("system", "prune", "-f", root=store_root).ok()
    assert os.listdir(unpacked) == []


def test_a_failed_command_leaves_nothing(run_cli, store_root, tmp_path):
    """An import and a load of a layer that cannot be unpacked; what was there is left as it was."""
    with Store.open(str(store_root)) as store:
        put_image(store, NAME, [file("base", b"base")])
        before = set(store.blobs.all())
        layers = [tar([file("f", b"new")]).getvalue(), tar([hardlink("l", "nowhere")]).getvalue()]
    (tmp_path / "bad.tar").write_bytes(layers[1])
    _archive(tmp_path / "app.tar", layers)
    for words in (("import", tmp_path / "bad.tar", "x:1"), ("load", "-i", tmp_path / "app.tar")):
        done = run_cli(*words, root=store_root)
        assert (done.code, "the hard link's target 'nowhere'" in done.stderr) == (1, True), done
        with Store.open(str(store_root)) as store:
            assert set(store.blobs.all()) == before
            assert os.listdir(store.layout.indexes) == []
            assert list(check(store)) == []


def _archive(path, layers):
    """Write an archive of docker's form with these layers."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = {"os": "linux", "architecture": this_platform().architecture, "rootfs": rootfs}
    names = [f"{at}.tar" for at, _ in enumerate(layers)]
    manifest = [{"Config": "config", "RepoTags": ["app:1"], "Layers": names}]
    members = {
        "config": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    members.update(zip(names, layers, strict=True))
    path.write_bytes(tar([file(name, content) for name, content in members.items()]).getvalue())
