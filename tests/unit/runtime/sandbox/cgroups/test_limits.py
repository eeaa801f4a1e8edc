"""Limits of resources in directories that stand for cgroups; the kernel's: test_run_options.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool_runtime.defaults import ResourceOptions
from ocitool_runtime.resources import cgroup_limits, parse_resources
from ocitool_runtime.sandbox.cgroups.limits import Limits

NO_V1: frozenset[str] = frozenset()


class Directories:
    """A cgroup and its child, as files."""

    def __init__(self, top: Path) -> None:
        self.parent, self.made = top, top / "made"
        self.made.mkdir()
        self.fds = [os.open(path, os.O_RDONLY) for path in (self.parent, self.made)]

    def v2(self, available: str, enabled: str) -> None:
        (self.parent / "cgroup.controllers").write_text(available)
        (self.parent / "cgroup.subtree_control").write_text(enabled)

    def have(self, *names: str) -> None:
        for name in names:
            (self.made / name).write_text("")


@pytest.fixture
def cgroups(tmp_path) -> Iterator[Directories]:
    directories = Directories(tmp_path)
    yield directories
    for fd in directories.fds:
        os.close(fd)


def limits(*, pids_limit: int | None = None, **options) -> Limits:
    return Limits(cgroup_limits(parse_resources(ResourceOptions(**options), pids_limit)))


def test_a_controller_is_enabled_for_the_children_of_cgroup_v2(cgroups):
    cgroups.v2("cpu memory pids", "pids")
    cgroups.have("memory.max")
    found = limits(memory=64 << 20)
    found.set(*cgroups.fds, NO_V1)
    found.check("")
    assert (cgroups.parent / "cgroup.subtree_control").read_text() == "+memory"
    assert (cgroups.made / "memory.max").read_text() == str(64 << 20)  # swap is not accounted for


def test_a_swap_limit_that_was_asked_for_must_take_effect(cgroups):
    cgroups.v2("memory", "memory")
    cgroups.have("memory.max")
    with pytest.raises(OSError, match="--memory-swap: No such file or directory"):
        limits(memory=64 << 20, memory_swap=96 << 20).set(*cgroups.fds, NO_V1)


def test_a_controller_that_no_cgroup_has_is_an_error(cgroups):
    cgroups.v2("pids", "pids")
    found = limits(cpus="1")
    found.set(*cgroups.fds, NO_V1)
    with pytest.raises(OSError, match=r"--cpus, .*: no cgroup has the controller 'cpu'"):
        found.check("")
    with pytest.raises(OSError, match=r"--cpus, .*: /sys/fs/cgroup: Read-only file system"):
        found.check("/sys/fs/cgroup: Read-only file system")


def test_a_new_v1_cgroup_takes_over_the_memory_nodes(cgroups):
    (cgroups.parent / "cpuset.mems").write_text("0-1\n")
    cgroups.have("cpuset.mems", "cpuset.cpus")
    limits(cpuset_cpus="2").set(*cgroups.fds, frozenset({"cpuset"}))
    assert (cgroups.made / "cpuset.mems").read_text() == "0-1"
    assert (cgroups.made / "cpuset.cpus").read_text() == "2"
