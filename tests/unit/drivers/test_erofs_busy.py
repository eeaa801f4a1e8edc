"""Images that are in use while others change them, and merged by several at once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from ocitool.drivers import select
from ocitool.drivers.conformance.harness import LIST, run_inside
from ocitool.drivers.conformance.layers import file, tar, whiteout
from ocitool.errors import LayerNotFound
from ocitool_runtime.sandbox.rootfs.image_mounts import sweep
from tests.fixtures.stores import finish, start
from tests.fixtures.trees import remove_tree

NAMES = [f"{at:064x}" for at in range(12)]

MERGE = """
import sys
from ocitool.drivers import select
home, *names = sys.argv[1:]
driver = select.make("erofs", home)
print("ready", flush=True)
sys.stdin.readline()
(mount,) = driver.view(names)
print(mount.lower[0])
"""

HOLD = """
import sys
from ocitool.drivers import select
from ocitool.drivers.conformance.harness import run_inside
home, signal, answer, *names = sys.argv[1:]
LOOK = f"open({signal!r}, 'w').close(); open({answer!r}).read();"
LOOK += "import os; print([int(open('top').read()), len(os.listdir('.'))])"
print(run_inside(select.make("erofs", home).view(names), LOOK))
"""


@pytest.fixture
def home():
    place = tempfile.mkdtemp(prefix="busy-")
    if not (found := select.probe("erofs", place)).ok:
        os.rmdir(place)
        pytest.skip(f"needs erofs: {found.reason}")
    yield place
    if os.path.isdir(f"{place}/mounts"):
        assert sweep(f"{place}/mounts") == 0  # nothing was left behind
    remove_tree(Path(place))


@pytest.fixture
def driver(home):
    """A driver with more layers than are stacked, each with a file that hides the one before."""
    made = select.make("erofs", home)
    for at, name in enumerate(NAMES):
        members = [file(f"f{at}", b"%d" % at), *([whiteout(f"f{at - 1}")] if at else [])]
        made.begin("t", NAMES[:at])
        made.apply("t", NAMES[:at], tar([*members, file("top", b"%d" % at)]))
        made.commit("t", name)
    return made


@pytest.mark.slow
def test_several_merge_the_same_stack_at_once(home, driver):
    several = [start(MERGE, home, *NAMES) for _ in range(4)]
    for process in several:
        assert process.stdout.readline() == "ready\n"
    for process in several:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert finish(*several) == [f"{home}/mounts/m-{NAMES[-1]}\n"] * 4
    assert os.listdir(f"{home}/merged") == [NAMES[-1]]
    assert sorted(run_inside(driver.view(NAMES), LIST)) == [".", "f11", "top"]
    assert list(driver.check(NAMES[0], (), tar([file("f0", b"0"), file("top", b"0")]))) == []


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, len(NAMES)], ids=["stacked", "merged"])
def test_a_layer_that_is_removed_stays_for_who_has_it(home, driver, count):
    """Its names are gone at once; the kernel keeps the files until the last mount is off."""
    names = NAMES[:count]
    signal, answer = f"{home}.ready", f"{home}.go"
    os.mkfifo(signal)
    os.mkfifo(answer)
    process = start(HOLD, home, signal, answer, *names)
    try:
        Path(signal).read_text()  # it is mounted
        for name in reversed(names):
            driver.remove(name)
        Path(answer).write_text("go")
        assert finish(process) == [f"[{count - 1}, 2]\n"]
    finally:
        os.unlink(signal)
        os.unlink(answer)
    with pytest.raises(LayerNotFound):
        driver.view(names)
