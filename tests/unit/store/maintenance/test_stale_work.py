"""What processes that were killed have left goes; what living ones hold stays."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ocitool.store.maintenance.prune import prune
from tests.fixtures.stores import put_layer, start

HOLD = """
import sys
from ocitool import Store
from ocitool.containers.container import Container
store = Store.open(sys.argv[1])
with (
    store.layout.work_lock("layer", "0123"),
    Container(store.layout, name="held", image="", layers=("0123",)),
):
    print("held", flush=True)
    sys.stdin.read()
"""


def held(store, *paths):
    return [name for place in paths for name in os.listdir(f"{store.layout.root}/{place}")]


@pytest.mark.slow
def test_locks_and_containers_go_with_their_processes(store):
    with start(HOLD, store.layout.root) as process:
        assert process.stdout.readline() == "held\n"
        store.sweep()
        assert len(held(store, "containers")) == 1
        assert held(store, "locks") == ["layer-0123"]
        process.send_signal(signal.SIGKILL)
    assert len(held(store, "locks", "containers")) == 2
    store.sweep()
    assert held(store, "locks", "containers") == []


LOCK = """
import os, sys
from ocitool.store.directory.layout import Layout
from ocitool.store.maintenance.stale_work import sweep
layout = Layout(sys.argv[1])
for _ in range(300):
    with layout.work_lock("step", "1"):
        path = f"{layout.root}/inside"
        with open(path, "x"):  # nobody else is here
            sweep(layout, None)
        os.unlink(path)
"""


@pytest.mark.slow
def test_no_sweep_lets_two_hold_one_lock(store):
    workers = [start(LOCK, store.layout.root) for _ in range(3)]
    said = [worker.communicate(timeout=120)[1] for worker in workers]
    assert said == ["", "", ""]
    assert held(store, "locks") == []


@pytest.mark.slow
def test_a_collection_finishes_an_interrupted_removal(with_driver):
    """A removal was killed after its rename; no layer is left that would be removed with it."""
    store = with_driver
    driver = store.driver()
    layer = put_layer(store, [])
    store.layers.ensure((layer,))
    home = Path(store.layout.drivers, driver.name)
    (home / "trash" / "killed" / "fs").mkdir(parents=True)
    prune(store)
    store.close()  # a process removes what its work has taken out of use when it ends
    assert held(store, f"drivers/{driver.name}/trash") == []
