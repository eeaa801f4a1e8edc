"""Processes killed in the middle of their work: the next finds the store clean, or cleans it."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import time
from pathlib import Path

import pytest

from ocitool import Store
from ocitool.store.maintenance.check.check import check
from tests.fixtures.stores import LARGE as NAME
from tests.fixtures.stores import files_below, start

pytestmark = pytest.mark.campaign

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
from ocitool.image.store_content import local_image
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
    """Let *process* print so many lines, and kill it wherever it is then.

    Processes that it has begun end by themselves; until they have executed their program, they
    hold its locks.
    """
    with process:
        for _ in range(lines):
            assert process.stdout.readline(), process.stderr.read()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        children = [os.pidfd_open(pid) for pid in children_of(process.pid)]
        process.send_signal(signal.SIGKILL)
    for child in children:
        assert select.select([child], [], [], 60)[0], "a child goes on"
        os.close(child)


def children_of(pid):
    """Return the processes that *pid*, which is stopped, has begun."""
    found = []
    with contextlib.suppress(FileNotFoundError):  # it has ended
        for task in os.listdir(f"/proc/{pid}/task"):
            text = Path(f"/proc/{pid}/task/{task}/children").read_text()
            found += [int(child) for child in text.split()]
    return found


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
        assert all(400 * 9000 <= size < 2 * 400 * 9000 for size in sizes)


def kill_at(process, condition):
    """Kill *process* as soon as *condition* is true; it is stopped while that is checked."""
    with process:
        assert process.stdout.readline(), process.stderr.read()
        while True:
            process.send_signal(signal.SIGSTOP)
            state = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            assert state is not None and state.si_code == os.CLD_STOPPED, "it ended before"
            if condition():
                break
            process.send_signal(signal.SIGCONT)
            time.sleep(0.001)  # or it would hardly ever go on
        process.send_signal(signal.SIGKILL)


def test_a_tree_half_unpacked_goes(image, store_root):
    with Store.open(str(store_root)) as store:
        trees = Path(store.layout.drivers, store.choose_driver().name, "trees")
    if os.geteuid() != 0:
        pytest.skip("needs root: the worker of an ordinary user is another process")
    process = start(UNPACK, store_root)
    kill_at(process, lambda: any(trees.glob("*/fs/d*")) or any(trees.glob("*/tar")))
    assert os.listdir(trees) != []
    assert_recovered(store_root)


def test_a_blob_half_written_goes(store_root):
    tmp = store_root / "tmp"
    kill_at(start(WRITE, store_root), lambda: any(tmp.glob("*/*")))
    assert files_below(tmp) != []
    assert_recovered(store_root)


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
        "import sys; from ocitool import Store; from ocitool.drivers.conformance.layers import *\n"
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
    process = user.begin(UNPACK, store_root)
    kill_after(process, lines)
    again = (
        "import os, sys; from ocitool import Store\n"
        "from ocitool.store.maintenance.check.check import check\n"
        "from ocitool.image.store_content import local_image\n"
        "with Store.open(sys.argv[1]) as store:\n"
        "    lease = store.lease().name\n"
        "    assert os.listdir(store.layout.tmp) == [lease]\n"
        "    assert list(store.driver().trees()) == []\n"
        "    assert list(check(store)) == []\n"
        f"    names = store.layers.ensure(local_image(store, '{NAME}').layers)\n"
        "    assert [store.driver().usage(name).size for name in names] == [3600000] * 3\n"
    )
    user.run(user.python, "-c", again, store_root).ok()
