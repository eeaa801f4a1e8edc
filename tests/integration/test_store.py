"""A store among other processes: killed ones, hurried ones, other tools, and on a full disk."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from ocitool import Store
from ocitool.drivers.samples import directory, file
from ocitool.errors import DriverUnavailable, StoreError
from ocitool.layer.root import remove_tree
from ocitool.store.check import check
from ocitool.store.layer import layer_names
from ocitool.store.refs import name_of
from tests.fixtures.programs import execute
from tests.fixtures.stores import files_below, finish, put_image, start

NAME = "docker.io/library/large:1"


def large(seed, files=400):
    """Return a layer that takes a while to unpack."""
    noise = random.Random(seed)
    members = [directory(f"d{at}") for at in range(20)]
    members += [file(f"d{at % 20}/f{at}", noise.randbytes(9000)) for at in range(files)]
    return members


@pytest.fixture
def image(store_root):
    """An image of three layers in the store; skips where they cannot be unpacked."""
    with Store.open(str(store_root)) as store:
        try:
            store.driver()
        except DriverUnavailable as error:
            pytest.skip(str(error))
        return put_image(store, NAME, *(large(seed) for seed in range(3)))


# -- other tools -----------------------------------------------------------------------------


def test_skopeo_reads_a_store_in_place(skopeo, store_root):
    with Store.open(str(store_root)) as store:
        made = put_image(store, NAME, [file("f", b"content")])
        layers = [str(layer.blob.digest) for layer in made.layers]
        digest = str(made.digest)
    told = skopeo("inspect", f"oci:{store_root}/oci:{NAME}")
    assert json.loads(told.stdout)["Layers"] == layers
    assert json.loads(told.stdout)["Digest"] == digest
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
    assert run_cli("system", "check", root=store_root).ok().stdout == "The store is whole.\n"


# -- many at once ----------------------------------------------------------------------------

ENSURE = f"""
import sys
from ocitool import Store
from ocitool.image.local import local_image
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
    assert have == [" ".join(["have", *layer_names(image.layers)])] * 8
    assert len(unpacked) == len(set(unpacked)) == 3
    with Store.open(str(store_root)) as store:
        assert list(store.driver().trees()) == []
        assert list(check(store)) == []


# -- killed ----------------------------------------------------------------------------------

WRITE = """
import os, sys
from ocitool import Store
with Store.open(sys.argv[1]) as store:
    print("began", flush=True)
    at = 0
    while True:
        store.blobs.put(os.urandom(1 << 18), store.lease())
        at += 1
        print(at, flush=True)
"""
UNPACK = f"""
import sys
from ocitool import Store
from ocitool.image.local import local_image
with Store.open(sys.argv[1]) as store:
    layers = local_image(store, "{NAME}").layers
    class Tell:
        def emit(self, event):
            print(event, flush=True)
    print("began", flush=True)
    while True:
        names = store.layers.ensure(layers, Tell())
        store.database.run("DELETE FROM layers WHERE chain != ?", (names[0],))
"""
BUILD = """
import os, sys
from ocitool import BuildOptions, Store, build
with Store.open(sys.argv[1]) as store:
    class Tell:
        def emit(self, event):
            print(event, flush=True)
    print("began", flush=True)
    while True:
        with open(f"{sys.argv[2]}/new", "wb") as file:
            file.write(os.urandom(1 << 20))
        build(BuildOptions(context=sys.argv[2], tags=("killed:1",)), store=store, progress=Tell())
"""


def kill_after(process, lines):
    """Let *process* print so many lines, and kill it wherever it is then."""
    with process:
        for _ in range(lines):
            assert process.stdout.readline(), process.stderr.read()
        process.send_signal(signal.SIGKILL)


def assert_recovered(root):
    """The next to work in the store finds it clean and makes it so; finished layers stay."""
    with Store.open(str(root)) as store:
        store.lease()
        assert os.listdir(store.layout.tmp) == [store.lease().name]
        assert list(check(store)) == []
        for name in os.listdir(store.layout.drivers):
            place = Path(store.layout.drivers, name, "trees")
            assert not place.exists() or os.listdir(place) == []
    left = [name for name in files_below(root) if name.endswith(".tmp") or name.startswith("tmp/")]
    assert left == []


@pytest.mark.parametrize("lines", [1, 2, 5, 9])
def test_a_killed_writer_leaves_whole_blobs_alone(store_root, lines):
    kill_after(start(WRITE, store_root), lines)
    assert_recovered(store_root)
    with Store.open(str(store_root)) as store:
        assert len(list(store.blobs.all())) >= lines - 1


@pytest.mark.parametrize("lines", [2, 3, 4, 7])
def test_a_killed_unpacking_leaves_whole_layers_alone(image, store_root, lines):
    kill_after(start(UNPACK, store_root), lines)
    with Store.open(str(store_root)) as store:
        before = {row[0] for row in store.database.rows("SELECT chain FROM layers")}
    assert_recovered(store_root)
    with Store.open(str(store_root)) as store:
        rows = {row[0] for row in store.database.rows("SELECT chain FROM layers")}
        assert rows == before
        assert rows <= set(store.driver().layers())
        names = store.layers.ensure(image.layers)
        sizes = [store.driver().usage(name).size for name in names]
        assert sizes == [400 * 9000] * 3


@pytest.mark.parametrize("lines", [2, 4, 8, 13])
def test_a_killed_build_leaves_nothing_unfinished(store_root, tmp_path, lines):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY new /new\nCOPY Dockerfile /\n")
    (tmp_path / "new").write_bytes(b"")
    kill_after(start(BUILD, store_root, tmp_path), lines)
    assert_recovered(store_root)


@pytest.mark.parametrize("lines", [2, 3, 5])
def test_a_killed_user_leaves_nothing_either(ordinary_user, store_root, lines):
    """The worker in the user namespace ends with its owner, and what it wrote goes, too."""
    user = ordinary_user
    shutil.rmtree(store_root)
    store_root.mkdir()
    os.chown(store_root, user.uid, user.gid)
    make = (
        "import sys; from ocitool import Store; from ocitool.drivers.samples import *\n"
        "from ocitool.oci.config import ImageConfig\n"
        "from ocitool.oci.manifest import Descriptor, Manifest\n"
        "from ocitool.oci.mediatypes import OCI_CONFIG\n"
        "from ocitool.oci.platform import this_platform\n"
        "me = (1234, 60000)\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    store.driver()\n"
        "    layers = []\n"
        "    for seed in range(3):\n"
        "        members = [directory('d', me), *(file(f'd/{seed}-{at}', bytes(9000), me)"
        " for at in range(400))]\n"
        "        data = tar(members).getvalue()\n"
        "        layers.append(store.layers.pack(lambda sink: sink(data)))\n"
        "    config = ImageConfig(platform=this_platform(),"
        " diff_ids=tuple(each.diff_id for each in layers)).dump()\n"
        "    digest = store.blobs.put(config, store.lease())\n"
        "    described = Descriptor(media_type=OCI_CONFIG, digest=digest, size=len(config))\n"
        "    manifest = Manifest.new(described, [each.blob for each in layers])\n"
        "    store.blobs.put(manifest.raw, store.lease())\n"
        f"    store.refs.set('{NAME}', manifest.descriptor)\n"
    )
    made = user.run(user.python, "-c", make, store_root)
    if "DriverUnavailable" in made.stderr:
        pytest.skip(made.stderr.splitlines()[-1])
    made.ok()
    process = subprocess.Popen(
        [user.python, "-c", UNPACK, str(store_root)],
        env=user.env,
        cwd=user.home,
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    kill_after(process, lines)
    again = (
        "import os, sys; from ocitool import Store; from ocitool.store.check import check\n"
        "from ocitool.image.local import local_image\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    lease = store.lease().name\n"
        "    assert os.listdir(store.layout.tmp) == [lease]\n"
        "    assert list(store.driver().trees()) == []\n"
        "    assert list(check(store)) == []\n"
        f"    names = store.layers.ensure(local_image(store, '{NAME}').layers)\n"
        "    assert [store.driver().usage(name).size for name in names] == [3600000] * 3\n"
    )
    user.run(user.python, "-c", again, store_root).ok()


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


def test_a_full_disk_is_told_and_leaves_nothing(small_disk):
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
        assert not trash.exists() or os.listdir(trash) == []
        assert list(check(store)) == []
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
