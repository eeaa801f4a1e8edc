"""The list of devices, as the device cgroup of either version applies it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ocitool_runtime.sandbox.cgroups import cgroups, device_filter

#: Makes and opens each device in a directory, from within a cgroup; prints what could be opened.
TRY = """
import os, stat, sys
procs, top, *devices = sys.argv[1:]
open(procs, "w").write("0")
for number, device in enumerate(devices):
    kind, major, minor = device.split(":")
    path = f"{top}/{number}"
    os.mknod(path, (stat.S_IFCHR if kind == "c" else stat.S_IFBLK) | 0o600,
             os.makedev(int(major), int(minor)))
    for flags in (os.O_RDONLY, os.O_WRONLY):
        try:
            os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))
            print(device, "rw"[flags])
        except PermissionError:
            pass
        except OSError:  # no such device: the cgroup let it through
            print(device, "rw"[flags])
"""
OPEN = ("c:1:3", "c:1:5", "c:1:7", "c:1:8", "c:1:9", "c:5:0", "c:5:2", "c:136:0", "c:136:77")
CLOSED = ("c:1:1", "c:1:4", "c:1:11", "c:5:1", "c:5:3", "c:10:200", "c:10:229", "c:135:0",
          "b:1:3", "b:5:0", "b:7:0", "b:8:0", "b:136:0", "b:254:0")  # fmt: skip


@pytest.fixture(params=["v1", "v2"])
def restricted(request, root_only):
    """A cgroup to which the list has been applied."""
    for path, controllers in cgroups.own_cgroups():
        if "devices" in controllers if request.param == "v1" else not controllers:
            made = Path(path, f"ocitool-test-{os.getpid()}")
            made.mkdir()
            fd = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
            try:
                getattr(device_filter, f"restrict_{request.param}")(fd, [])
                yield made
            finally:
                os.close(fd)
                made.rmdir()
            return
    pytest.skip(f"needs the device cgroup {request.param}")


def test_what_docker_allows_can_be_opened_and_nothing_else(restricted, tmp_path):
    words = [sys.executable, "-c", TRY, restricted / "cgroup.procs", tmp_path, *OPEN, *CLOSED]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{device} {mode}" for device in OPEN for mode in "rw"]
    made = [os.lstat(tmp_path / str(number)) for number in range(len(OPEN + CLOSED))]
    assert all(stat.S_ISCHR(each.st_mode) or stat.S_ISBLK(each.st_mode) for each in made)
