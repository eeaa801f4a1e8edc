"""Stores corrupted at random (``tests/crash/corruption.py``), a few with each driver."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.crash.corruption import CorruptionCampaign
from tests.crash.stage import Stage
from tests.crash.table import Table
from tests.fixtures.trees import remove_tree

SEED = 9

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def stage(root_only, run_cli):
    """What a campaign works with."""
    if shutil.which("busybox") is None:
        pytest.skip("needs busybox")
    made = Stage(Path(tempfile.mkdtemp(prefix="corruption-")).resolve(), cli=run_cli)
    made.work.chmod(0o755)
    try:
        made.set_up()
        yield made
    finally:
        made.strike()


@pytest.mark.parametrize("driver", ["erofs", "overlay", "vfs"])
def test_one_repair_leaves_a_whole_store(stage, driver):
    table = Table()
    CorruptionCampaign(stage, driver, table, SEED).run(3)
    assert table.faults == []


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_so_it_does_for_an_ordinary_user(stage, ordinary_user, driver):
    table = Table()
    place = Path(tempfile.mkdtemp(prefix="stores-", dir=stage.work))
    os.chown(place, ordinary_user.uid, ordinary_user.gid)
    stage.user, stage.stores = ordinary_user, place
    try:
        CorruptionCampaign(stage, driver, table, SEED).run(2)
    finally:
        stage.user, stage.stores = None, None
        remove_tree(place)
    assert table.faults == []
