"""Leases: they tell whose work is unfinished, and since when."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ocitool import Store
from ocitool.store.directory import leases
from ocitool.store.directory.leases import Lease, is_alive, lease_of, oldest_lease
from tests.fixtures.stores import finish, start


def test_a_lease_goes_with_its_store(store_root):
    with Store.open(str(store_root)) as store:
        lease = store.lease()
        assert store.lease() is lease
        assert is_alive(store.layout, lease.name)
        with open(lease.file(), "w") as file:
            file.write("unfinished")
    assert os.listdir(store_root / "tmp") == []


def test_a_tree_tells_its_lease(store):
    lease = store.lease()
    assert lease_of(lease.key()) == lease.name
    assert lease.key() != lease.key()


def test_a_lease_does_not_grow_younger_by_its_use(store):
    """What a pull stored first is as much in use as what it stores last."""
    lease = store.lease()
    began = oldest_lease(store.layout)
    digest = store.blobs.put(b"first", lease)
    stored = os.stat(store.blobs.path(digest)).st_mtime_ns
    while time.time_ns() < stored + 50_000_000:  # many ticks of the clock that files are dated by
        store.blobs.put(os.urandom(9), lease)
    assert oldest_lease(store.layout) == began
    assert began <= stored
    assert lease.began == began / 1e9


def test_the_oldest_of_all_counts(store):
    first = store.lease()
    second = Lease(store.layout)
    assert oldest_lease(store.layout) / 1e9 == first.began <= second.began
    second.close()


def test_without_a_lease_it_is_now(store):
    before = time.clock_gettime_ns(leases._CLOCK_REALTIME_COARSE)
    now = oldest_lease(store.layout)
    assert before <= now <= time.time_ns()


@pytest.mark.parametrize(
    "name", [f"{time.time_ns() + 10**18:016x}00000000", "not-of-ours"], ids=["later", "other"]
)
def test_a_lease_of_unknown_time_keeps_everything(store, name):
    os.mkdir(f"{store.layout.tmp}/{name}")
    assert oldest_lease(store.layout) == 0


WORK = """
import os, sys
from ocitool import Store
store = Store.open(sys.argv[1])
writer = store.blobs.writer(store.lease())
writer.write(b"unfinished")
home = f"{store.layout.drivers}/vfs/trees/{store.lease().key()}/fs"
os.makedirs(home)
print(store.lease().name, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_work_of_the_living_is_spared_and_of_the_dead_removed(store):
    layout = store.layout
    worker = start(WORK, layout.root)
    with worker:
        name = worker.stdout.readline().strip()
        store.sweep()
        assert is_alive(layout, name)
        assert len(os.listdir(f"{layout.tmp}/{name}")) == 1
        assert len(os.listdir(f"{layout.drivers}/vfs/trees")) == 1
        worker.send_signal(signal.SIGKILL)
    assert not is_alive(layout, name)
    store.sweep()
    assert os.listdir(layout.tmp) == []
    assert os.listdir(f"{layout.drivers}/vfs/trees") == []


def test_a_tree_without_its_lease_is_dead(store):
    tree = f"{store.layout.drivers}/vfs/trees/{'0' * 24}-1/fs"
    os.makedirs(tree)
    store.sweep()
    assert not os.path.exists(tree)


SWEEP = """
import sys
from ocitool.store.directory.layout import Layout
from ocitool.store.directory.leases import Lease, is_alive, remove_dead
layout = Layout(sys.argv[1])
for _ in range(200):
    lease = Lease(layout)
    remove_dead(layout.tmp)
    assert is_alive(layout, lease.name)
    open(lease.file(), "w").close()
    lease.close()
"""


@pytest.mark.slow
def test_nobody_removes_a_lease_that_is_just_made(store):
    finish(*[start(SWEEP, store.layout.root) for _ in range(4)])
    store.sweep()
    assert os.listdir(store.layout.tmp) == []
