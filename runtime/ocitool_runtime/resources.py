"""Limits of resources as docker's options have them, and the files of cgroups that set them.

Source: docker's reference, "Runtime options with Memory, CPUs, and GPUs"; cgroup-v1/memory.rst and
cgroup-v2.rst; the conversion of shares to weights is that of opencontainers/cgroups.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ocitool.errors import SandboxError
from ocitool_runtime.defaults import ResourceOptions, Resources

if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import CgroupLimitPlan

_LEAST_MEMORY: Final = 6 << 20  # bytes, as docker has it: with less no program starts
_PERIOD: Final = 100_000  # microseconds, the kernel's default
_SET: Final = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_CPUS: Final = re.compile(r"\d{1,5}(\.\d{0,9})?|\.\d{1,9}")


def parse_resources(options: ResourceOptions, pids_limit: int | None = None) -> Resources:
    """Return limits from the values of docker's options; `SandboxError` for an invalid one."""
    memory, swap = _memory(options)
    period, quota = _cpu_time(options)
    shares, pids = options.cpu_shares or 0, pids_limit or 0
    _require("--cpu-shares", shares, 2, 262_144)
    sets, parent = (options.cpuset_cpus, options.cpuset_mems), options.cgroup_parent
    for option, text in zip(("--cpuset-cpus", "--cpuset-mems"), sets, strict=True):
        if text and not _SET.fullmatch(text):
            raise SandboxError(
                f"invalid set {text!r}", where=option, hint="use a list such as 0-3,5"
            )
    if pids < -1:
        raise SandboxError("invalid number: use -1 for no limit", where="--pids-limit")
    if ".." in parent.split("/") or "\0" in parent:
        raise SandboxError(f"invalid cgroup {parent!r}", where="--cgroup-parent")
    return Resources(
        memory=memory,
        memory_swap=swap,
        cpu_shares=shares,
        cpu_period=period,
        cpu_quota=quota,
        cpuset_cpus=options.cpuset_cpus,
        cpuset_mems=options.cpuset_mems,
        pids=max(pids, 0),
        parent=parent,
    )


def _memory(options: ResourceOptions) -> tuple[int, int]:
    """Return the limits of memory, and of memory and swap together."""
    memory, swap = options.memory or 0, options.memory_swap or 0
    if memory < 0 or 0 < memory < _LEAST_MEMORY:
        raise SandboxError("the minimum memory limit is 6MB", where="--memory")
    if swap < -1:
        raise SandboxError("invalid size: use a size, or -1 for no limit", where="--memory-swap")
    if swap == -1 and not memory:
        swap = 0  # no limit of either, as without the option
    if swap and not memory:
        raise SandboxError("--memory-swap needs --memory: it is memory and swap together")
    if 0 < swap < memory:
        raise SandboxError("--memory-swap must be at least --memory: it is both together")
    return memory, swap


def _cpu_time(options: ResourceOptions) -> tuple[int, int]:
    """Return the CPU period and the quota in each period, in microseconds."""
    cpus, period, quota = options.cpus, options.cpu_period or 0, options.cpu_quota or 0
    quota = 0 if quota == -1 else quota
    if cpus:
        if not _CPUS.fullmatch(cpus):
            raise SandboxError(
                f"invalid number of CPUs: {cpus!r}", where="--cpus", hint="use a number such as 1.5"
            )
        if quota or period:
            raise SandboxError("--cpus cannot be combined with --cpu-period and --cpu-quota")
        quota, period = round(float(cpus) * _PERIOD), _PERIOD
    _require("--cpu-period", period, 1000, 1_000_000)
    _require("--cpus" if cpus else "--cpu-quota", quota, 1000, 1 << 53)
    return period, quota


def _require(option: str, value: int, least: int, most: int) -> None:
    if value and not least <= value <= most:
        raise SandboxError(f"{option}: the value must be from {least} to {most}")


def cgroup_limits(resources: Resources) -> list[CgroupLimitPlan]:
    """Return the files that set *resources*, in the order in which they are written."""
    found = []
    memory, swap = resources.memory, resources.memory_swap
    if memory:
        v1 = [("memory.limit_in_bytes", str(memory))]
        found.append(_limit("--memory", "memory", v1, [("memory.max", str(memory))]))
        # As docker: as much swap as memory by default, where the kernel accounts for it.
        both = 2 * memory if swap == 0 else swap
        v1 = [("memory.memsw.limit_in_bytes", str(both))]
        v2 = [("memory.swap.max", "max" if both < 0 else str(both - memory))]
        found.append(_limit("--memory-swap", "memory", v1, v2, needed=swap > 0))
    if shares := resources.cpu_shares:
        weight = 1 + (shares - 2) * 9999 // 262_142
        v1 = [("cpu.shares", str(shares))]
        found.append(_limit("--cpu-shares", "cpu", v1, [("cpu.weight", str(weight))]))
    period, quota = resources.cpu_period, resources.cpu_quota
    if period or quota:
        v1 = [("cpu.cfs_period_us", str(period))] if period else []
        v1 += [("cpu.cfs_quota_us", str(quota))] if quota else []
        v2 = [("cpu.max", f"{quota or 'max'} {period or _PERIOD}")]
        found.append(_limit("--cpus, --cpu-period, --cpu-quota", "cpu", v1, v2))
    if resources.pids:
        files = [("pids.max", str(resources.pids))]
        found.append(_limit("--pids-limit", "pids", files, files))
    sets = {"cpuset.cpus": resources.cpuset_cpus, "cpuset.mems": resources.cpuset_mems}
    if any(sets.values()):
        # In v1 both must be set before a process may enter; "" takes over the parent's.
        v2 = [(name, value) for name, value in sets.items() if value]
        options = "--cpuset-cpus, --cpuset-mems"
        found.append(_limit(options, "cpuset", list(sets.items()), v2))
    return found


def _limit(
    options: str,
    controller: str,
    v1: list[tuple[str, str]],
    v2: list[tuple[str, str]],
    *,
    needed: bool = True,
) -> CgroupLimitPlan:
    return {"options": options, "controller": controller, "v1": v1, "v2": v2, "needed": needed}
