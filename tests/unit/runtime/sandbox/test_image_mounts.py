"""Images that containers share: mounted once, unmounted by the last, swept after a kill."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ocitool_runtime.sandbox.rootfs.image_mounts import sweep
from tests.fixtures.erofs import Images, unmountable
from tests.fixtures.programs import python_environment
from tests.unit.layer.tars import file, mine

pytestmark = pytest.mark.slow

HOLD = """
import sys
from ocitool_runtime.sandbox.rootfs.image_mounts import SharedMounts
source, target, device = sys.argv[1:]
shared = SharedMounts([{"source": source, "target": target, "devices": [device]}])
shared.hold()
print(open(target + "/f").read(), flush=True)
sys.stdin.read()
shared.release()
"""


@pytest.fixture
def image(tmp_path):
    """The plan of one image, with a file ``f`` in it."""
    if reason := unmountable(str(tmp_path)):
        pytest.skip(reason)
    Images(tmp_path).add(mine((file("f")._replace(size=7), b"content")))
    (tmp_path / "mounts").mkdir()
    yield {
        "source": str(tmp_path / "0.image"),
        "target": str(tmp_path / "mounts" / "a"),
        "devices": [str(tmp_path / "0.tar")],
    }
    sweep(str(tmp_path / "mounts"))


def mounts_below(place: str) -> int:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sum(line.split()[4].startswith(place) for line in lines)


def holder(plan, code=HOLD, *more, said="content\n"):
    words = [sys.executable, "-c", code, plan["source"], plan["target"], *plan["devices"], *more]
    process = subprocess.Popen(
        words, env=python_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == said
    return process


def let_go(process):
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()


def test_it_is_mounted_once_and_unmounted_by_the_last(image):
    first, second = holder(image), holder(image)
    assert mounts_below(image["target"]) == 1
    let_go(first)
    assert mounts_below(image["target"]) == 1
    let_go(second)
    assert mounts_below(image["target"]) == 0
    assert os.listdir(os.path.dirname(image["target"])) == []


def test_many_at_once_agree(image):
    words = [sys.executable, "-c", HOLD, image["source"], image["target"], *image["devices"]]
    many = [
        subprocess.Popen(
            words,
            env=python_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(12)
    ]
    assert [process.communicate(timeout=120)[0] for process in many] == ["content\n"] * 12
    assert [process.returncode for process in many] == [0] * 12
    assert mounts_below(image["target"]) == 0


def test_what_a_killed_process_left_is_swept_and_nothing_else(image):
    killed = holder(image)
    living = holder({**image, "target": image["target"] + "b"})
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    killed.stdin.close()
    killed.stdout.close()
    assert mounts_below(image["target"]) == 2
    here = os.getcwd()
    assert sweep(os.path.dirname(image["target"])) == 1
    assert os.getcwd() == here  # what swept goes on with the paths that it was given
    assert mounts_below(image["target"]) == 1
    let_go(living)
    assert mounts_below(image["target"]) == 0


def test_what_a_killed_process_left_is_used_again(image):
    killed = holder(image)
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    killed.stdin.close()
    killed.stdout.close()
    again = holder(image)
    assert mounts_below(image["target"]) == 1
    let_go(again)
    assert mounts_below(image["target"]) == 0


def test_a_place_that_a_switched_off_machine_left_is_no_mount(image):
    os.mkdir(image["target"])
    let_go(holder(image))
    assert os.listdir(os.path.dirname(image["target"])) == []


FAULT = """
import sys
from ocitool_runtime.sandbox.rootfs.image_mounts import SharedMounts
source, target, device, broken = sys.argv[1:]
plan = {"source": source, "target": target, "devices": [device]}
shared = SharedMounts([plan, {**plan, "source": broken, "target": target + "b"}])
try:
    shared.hold()
except OSError as error:
    print(error.errno, flush=True)
sys.stdin.read()
shared.release()
"""


def test_a_fault_leaves_nothing_shown(image, tmp_path):
    (tmp_path / "junk").write_bytes(bytes(4096))
    with holder(image, FAULT, str(tmp_path / "junk"), said=f"{errno.EINVAL}\n") as process:
        assert mounts_below(image["target"]) == 1
        let_go(process)
    assert mounts_below(image["target"]) == 0
    assert os.listdir(os.path.dirname(image["target"])) == []
