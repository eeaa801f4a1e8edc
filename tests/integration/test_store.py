"""A store among other processes: hurried ones, other tools; and on a full disk."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from ocitool import Store
from ocitool.drivers.conformance.layers import file
from ocitool.errors import StoreError
from ocitool.image.copy import copy
from ocitool.image.store_content import StoreSink, StoreSource
from ocitool.layer.beneath import remove_tree
from ocitool.store.layer_content import chain_ids
from ocitool.store.maintenance.check.check import check
from ocitool.store.refs import name_of
from tests.fixtures.disks import disk
from tests.fixtures.programs import execute
from tests.fixtures.stores import LARGE as NAME
from tests.fixtures.stores import age, files_below, finish, put_image, start

# -- other tools -----------------------------------------------------------------------------


def test_skopeo_reads_a_store_in_place(skopeo, store_root):
    with Store.open(str(store_root)) as store:
        made = put_image(store, NAME, [file("f", b"content")])
        layers = [str(layer.blob.digest) for layer in made.layers]
        digest = str(made.digest)
    output = skopeo("inspect", f"oci:{store_root}/oci:{NAME}")
    assert json.loads(output.stdout)["Layers"] == layers
    assert json.loads(output.stdout)["Digest"] == digest
    with tempfile.TemporaryDirectory() as place:
        skopeo("copy", f"oci:{store_root}/oci:{NAME}", f"oci:{place}/copy:1")
        assert digest.removeprefix("sha256:") in os.listdir(f"{place}/copy/blobs/sha256")


def test_umoci_reads_a_store_in_place(store_root):
    program = shutil.which("umoci")
    if program is None:
        pytest.skip("needs the program umoci")
    with Store.open(str(store_root)) as store:
        put_image(store, NAME, [file("f", b"content")])
    done = execute([program, "ls", "--layout", f"{store_root}/oci"]).ok()
    assert done.stdout == f"{NAME}\n"
    done = execute([program, "stat", "--json", "--image", f"{store_root}/oci:{NAME}"])
    if "invalid" not in done.stderr:  # some versions take no slash in a name
        assert done.code == 0, done


def test_what_skopeo_puts_into_a_store_is_there(skopeo, store_root, run_cli):
    with tempfile.TemporaryDirectory() as place:
        with Store.open(f"{place}/other") as other:
            image_id = put_image(other, NAME, [file("f", b"content")]).id
        run_cli("images", root=store_root).ok()
        skopeo("copy", f"oci:{place}/other/oci:{NAME}", f"oci:{store_root}/oci:{NAME}")
    done = run_cli("images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}", root=store_root)
    assert done.ok().stdout.split() == ["large", str(image_id)]
    assert run_cli("system", "check", root=store_root).ok().stdout == "No problems found\n"


# -- many at once ----------------------------------------------------------------------------

ENSURE = f"""
import sys
from ocitool import Store
from ocitool.image.store_content import local_image
class Unpacked:
    def emit(self, event):
        if getattr(event, "action", "") == "unpack" and event.state == "done":
            print("unpacked", event.key)
sys.stdin.readline()
with Store.open(sys.argv[1]) as store:
    layers = local_image(store, "{NAME}").layers
    print("have", *store.layers.ensure(layers, Unpacked()))
"""


def test_eight_processes_unpack_a_layer_once(image, store_root):
    processes = [start(ENSURE, store_root) for _ in range(8)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    lines = "".join(finish(*processes)).splitlines()
    have = [line for line in lines if line.startswith("have ")]
    unpacked = [line for line in lines if line.startswith("unpacked ")]
    assert have == [" ".join(["have", *chain_ids(image.layers)])] * 8
    assert len(unpacked) == len(set(unpacked)) == 3
    with Store.open(str(store_root)) as store:
        assert list(store.driver().trees()) == []
        assert list(check(store)) == []


# -- a full disk -----------------------------------------------------------------------------


@pytest.fixture
def small_disk(root_only, session_tree):
    """A directory on a file system of 12 MB."""
    place = Path(tempfile.mkdtemp(prefix="f", dir=session_tree))
    mount = execute(["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "none", str(place)])
    if mount.code != 0:
        pytest.skip(f"needs to mount a tmpfs: {mount.stderr.strip()}")
    yield place
    execute(["umount", "--lazy", str(place)]).ok()
    place.rmdir()


def test_a_full_disk_is_reported_and_leaves_nothing(small_disk):
    with Store.open(str(small_disk / "store")) as store:
        kept = put_image(store, "r/kept:1", [file("f", os.urandom(1 << 20))])
        before = files_below(store.layout.oci), store.refs.all()
        with pytest.raises(StoreError, match="the disk is full") as caught:
            put_image(store, "r/much:1", [file("f", os.urandom(20 << 20))])
        assert "system prune" in caught.value.hint
        assert (files_below(store.layout.oci), store.refs.all()) == before
        assert files_below(store.layout.tmp) == []
        assert list(check(store)) == []
        assert put_image(store, "r/kept:1", kept.layers[0]).digest == kept.digest


def test_what_cannot_fit_is_refused_before_it_is_fetched(small_disk, store_root):
    class Source(StoreSource):
        def open(self, descriptor):
            raise AssertionError("a blob was asked for")

    with Store.open(str(store_root)) as much, Store.open(str(small_disk / "store")) as little:
        image = put_image(much, "r/much:1", [file("f", os.urandom(20 << 20))])
        before = files_below(little.layout.root)
        with pytest.raises(StoreError, match="not enough disk space") as caught:
            copy(Source(much, image.descriptor), StoreSink(little, "r/much:1"))
        assert "system prune" in caught.value.hint
        assert files_below(little.layout.root) == before


def test_a_disk_that_fills_while_a_layer_is_unpacked(small_disk):
    zeros = file("f", bytes(20 << 20))  # small as a blob
    with Store.open(str(small_disk / "store")) as store:
        good = put_image(store, "r/good:1", [file("f", b"1")])
        names = store.layers.ensure(good.layers)
        bad = put_image(store, "r/bad:1", good.layers[0], [zeros])
        with pytest.raises(StoreError, match="the disk is full"):
            store.layers.ensure(bad.layers)
        assert list(store.driver().trees()) == []
        assert set(store.driver().layers()) == set(names)
        trash = Path(store.layout.drivers, store.driver().name, "trash")
        assert list(check(store)) == []
    assert os.listdir(trash) == []
    assert shutil.disk_usage(small_disk).free > 8 << 20


def test_a_disk_without_a_byte_left(small_disk, run_cli):
    root = small_disk / "store"
    with Store.open(str(root)) as store:
        put_image(store, "docker.io/library/a:1", [file("f", os.urandom(100_000))])
        names = [name_of(entry) for entry in store.refs.all()]
    with open(small_disk / "filler", "wb") as filler, pytest.raises(OSError):
        while True:
            filler.write(bytes(65536))
            filler.flush()
    done = run_cli("tag", "a:1", "b:1", root=root)
    assert done.code == 1
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_cli("images", "-q", root=root)
    assert len(done.ok().stdout.split()) == 1  # what only reads goes on
    os.unlink(small_disk / "filler")
    with Store.open(str(root)) as store:
        assert [name_of(entry) for entry in store.refs.all()] == names
        assert list(check(store)) == []
    remove_tree(str(root))


@pytest.fixture
def ext4(session_tree):
    """A small disk, as root's with nothing reserved."""
    with disk(session_tree, "ext4", "-m", "0") as top:
        yield top


@pytest.mark.parametrize("words", [("rmi", "r/kept:1"), ("system", "prune", "-af")])
def test_a_disk_without_a_free_byte_can_be_freed(ext4, run_cli, words):
    root = ext4 / "store"
    with Store.open(str(root)) as store:
        put_image(store, "docker.io/r/kept:1", [file("f", os.urandom(1 << 20))])
        age(store)
    fill(ext4 / "rest")
    done = run_cli("tag", "r/kept:1", "r/more:1", root=root)
    assert done.code == 1 and "no space left" in done.stderr.lower()
    run_cli(*words, root=root, env={"OCITOOL_BACKGROUND": "no"}).ok()
    assert run_cli("images", "-q", root=root).ok().stdout == ""
    assert shutil.disk_usage(ext4).free >= 1 << 20


def fill(path):
    """Write to *path* until the disk is full."""
    size = 1 << 20
    with open(path, "wb", buffering=0) as rest:
        while size:
            try:
                rest.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size >>= 1
            os.fsync(rest.fileno())
