"""The campaigns of ``tests/crash``, each shortly, and what they have found."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from ocitool import Store
from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.remove import remove_image
from tests.crash import calls
from tests.crash.disk import Disk
from tests.fixtures.programs import CHECKOUT, execute, python_environment
from tests.fixtures.stores import age, large, put_image
from tests.fixtures.trees import remove_tree

GONE = "docker.io/library/gone:1"
TRACED = """
import os, sys
from tests.crash.tracer import Tracer
place = sys.argv[1]
work = f"import os; os.mkdir('{place}/a'); os.mkdir('{place}/b'); os.rmdir('{place}/a')"
whole = Tracer().run([sys.executable, "-c", work], os.environ, f"{place}/log")
assert (whole.code, whole.place) == (0, ""), whole
os.rmdir(f"{place}/b")
killed = Tracer(whole.changes).run([sys.executable, "-c", work], os.environ, f"{place}/log")
assert (killed.code, killed.place) == (-9, f"rmdir {place}/a"), killed
print(*sorted(name for name in os.listdir(place) if "log" not in name))
"""


@pytest.fixture
def crash(root_only, tmp_path):
    """Run a campaign; skips where it cannot be had."""
    if not calls.supported():
        pytest.skip("needs the numbers of this machine's system calls")
    if shutil.which("busybox") is None:
        pytest.skip("needs busybox")

    def run(*words):
        program = [sys.executable, "-m", "tests.crash", *words, "--work", tmp_path]
        return execute(program, env=python_environment(), cwd=CHECKOUT)

    return run


def test_a_program_is_killed_before_the_change_that_was_asked_for(root_only, tmp_path):
    if not calls.supported():
        pytest.skip("needs the numbers of this machine's system calls")
    env = python_environment()
    done = execute([sys.executable, "-c", TRACED, tmp_path], env=env, cwd=CHECKOUT).ok()
    assert done.stdout == "a b\n"


@pytest.mark.campaign
def test_kills(crash):
    done = crash("--kills", "6", "--cuts", "0", "--operations", "run", "--drivers", "vfs").ok()
    last = done.stdout.splitlines()[-1].split()
    assert (last[0], last[2]) == ("all", "0")
    assert int(last[1]) >= 5  # each share is rounded down


@pytest.mark.campaign
def test_a_soak(crash):
    done = crash("soak", "--minutes", "0.03", "--processes", "3", "--drivers", "vfs").ok()
    assert done.stdout.splitlines()[-1].split()[2] == "0"


@pytest.fixture
def disk(root_only, tmp_path):
    """A disk whose power can be cut."""
    disk = Disk(tmp_path)
    if reason := disk.missing():
        pytest.skip(reason)
    try:
        try:
            disk.set_up()
        except RuntimeError as error:
            pytest.skip(str(error))
        yield disk
    finally:
        remove_tree(tmp_path)


@pytest.mark.parametrize("driver", ["erofs", "overlay", "vfs"])
def test_a_power_cut_brings_no_removed_layer_back(disk, driver):
    """What removes a layer is on the disk at once; what forgets it must be there before."""
    root = disk.inner / "store"
    with Store.open(str(root), driver=driver) as store:
        image = put_image(store, GONE, large(1, 40))
        store.layers.ensure(image.layers)
        store.database.run("UPDATE layers SET boot = ''")  # as if made durable long ago
        age(store)
    os.sync()
    # One more connection, or the last to close would sync.
    with contextlib.closing(sqlite3.connect(root / "db.sqlite")) as another:
        another.execute("SELECT * FROM layers").fetchall()
        with Store.open(str(root), driver=driver) as store:
            remove_image(store, GONE)
            store.blobs.put(b"synced", store.lease())
            disk.cut()
    with disk.after_the_cut() as place, Store.open(str(place / "store"), driver=driver) as store:
        assert list(check(store)) == []
        assert store.database.rows("SELECT * FROM layers") == []
        assert not os.listdir(Path(store.layout.drivers, driver, "layers"))
