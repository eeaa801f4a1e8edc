"""Limits of resources: from docker's options to the files of cgroups, of both versions."""

from __future__ import annotations

import pytest

from ocitool.errors import SandboxError
from ocitool_runtime.defaults import ResourceOptions, Resources
from ocitool_runtime.resources import cgroup_limits, parse_resources

MIB = 1 << 20


def parsed(*, pids_limit: int | None = None, **options) -> Resources:
    return parse_resources(ResourceOptions(**options), pids_limit)


def files(version: str, **options) -> dict[str, str]:
    """The files that set *options*."""
    plans = cgroup_limits(parsed(**options))
    return {name: value for plan in plans for name, value in plan[version]}


def test_nothing_is_limited_without_options():
    assert parsed() == Resources()
    assert parsed(memory_swap=-1, cpu_quota=-1) == Resources()  # as docker has it
    assert cgroup_limits(Resources()) == []


def test_the_files_of_cgroup_v1():
    found = files("v1", memory=64 * MIB, cpus="1.5", cpu_shares=512, cpuset_cpus="0-1,3")
    assert found == {
        "memory.limit_in_bytes": str(64 * MIB),
        "memory.memsw.limit_in_bytes": str(128 * MIB),
        "cpu.shares": "512",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "150000",
        "cpuset.cpus": "0-1,3",
        "cpuset.mems": "",
    }


def test_the_files_of_cgroup_v2():
    found = files("v2", memory=64 * MIB, cpus=".5", cpu_shares=1024, cpuset_mems="0")
    assert found == {
        "memory.max": str(64 * MIB),
        "memory.swap.max": str(64 * MIB),
        "cpu.weight": "39",
        "cpu.max": "50000 100000",
        "cpuset.mems": "0",
    }
    assert files("v2", cpu_period=50_000) == {"cpu.max": "max 50000"}


@pytest.mark.parametrize(
    ("limit", "found"), [(7, {"pids.max": "7"}), (0, {}), (-1, {}), (None, {})]
)
def test_processes_are_limited_alike_in_both(limit, found):
    assert files("v1", pids_limit=limit) == files("v2", pids_limit=limit) == found


@pytest.mark.parametrize(
    ("swap", "v1", "v2"),
    [(100 * MIB, str(100 * MIB), str(36 * MIB)), (64 * MIB, str(64 * MIB), "0"), (-1, "-1", "max")],
)
def test_memory_and_swap_together(swap, v1, v2):
    options = {"memory": 64 * MIB, "memory_swap": swap}
    assert files("v1", **options)["memory.memsw.limit_in_bytes"] == v1
    assert files("v2", **options)["memory.swap.max"] == v2


def test_a_weight_is_within_the_bounds_of_cgroup_v2():
    assert files("v2", cpu_shares=2) == {"cpu.weight": "1"}
    assert files("v2", cpu_shares=262_144) == {"cpu.weight": "10000"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"memory": 1}, "--memory: the minimum memory limit is 6MB"),
        ({"memory_swap": MIB}, "--memory-swap needs --memory"),
        ({"memory": 64 * MIB, "memory_swap": MIB}, "--memory-swap must be at least --memory"),
        ({"memory": 64 * MIB, "memory_swap": -2}, "--memory-swap: invalid size"),
        ({"cpus": "many"}, "--cpus: invalid number of CPUs: 'many'"),
        ({"cpus": "0.001"}, "--cpus: the value must be from 1000"),
        ({"cpus": "1", "cpu_quota": 5000}, "--cpus cannot be combined with --cpu-period"),
        ({"cpu_shares": 1}, "--cpu-shares: the value must be from 2 to 262144"),
        ({"cpu_period": 1}, "--cpu-period: the value must be from 1000 to 1000000"),
        ({"cpuset_cpus": "0-"}, "--cpuset-cpus: invalid set '0-'"),
        ({"cpuset_mems": "a"}, "--cpuset-mems: invalid set 'a'"),
        ({"pids_limit": -2}, "--pids-limit: invalid number"),
        ({"cgroup_parent": "/a/../b"}, "--cgroup-parent: invalid cgroup '/a/../b'"),
    ],
)
def test_what_is_refused(options, text):
    with pytest.raises(SandboxError) as caught:
        parsed(**options)
    assert str(caught.value).startswith(text)
