"""What a sandbox is asked for before there is one; apart from `spec`, so that it imports fast."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: What Docker gives to a container whose image has no PATH (moby, oci/defaults.go).
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


#: Bytes of /dev/shm, docker's default.
SHM_SIZE: Final = 64 << 20


class Network(StrEnum):
    """Which network a sandbox has.  ``Network("none")`` reads what a user has written.

    ``bridge`` is docker's name of `PRIVATE`.
    """

    DEFAULT = "default"  # what the isolation chooses: PRIVATE where that works, or else HOST
    PRIVATE = "private"  # a network namespace that a program connects to the host's network
    HOST = "host"  # that of the host
    NONE = "none"  # a network namespace with nothing in it but the loopback device

    @classmethod
    def _missing_(cls, value: object) -> Network | None:
        return cls.PRIVATE if value == "bridge" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlimit:
    """A resource limit by its setrlimit(2) name, as ``nofile``; -1 is unlimited."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Limits of resources that a cgroup sets; 0 or "" is no limit."""

    memory: int = 0  # bytes
    memory_swap: int = 0  # bytes of memory and swap together; -1: no limit of swap
    cpu_shares: int = 0  # relative weight, 1024 by default
    cpu_period: int = 0  # microseconds
    cpu_quota: int = 0  # microseconds of CPU time in each CPU period
    cpuset_cpus: str = ""  # "0-3,5"
    cpuset_mems: str = ""  # memory nodes
    pids: int = 0  # processes and threads
    parent: str = ""  # the cgroup in which the sandbox's is made; "": the caller's


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceOptions:
    """Limits of resources as docker's options of ``run`` and ``build`` have them."""

    memory: int | None = None  # bytes; None or 0: no limit
    memory_swap: int | None = None  # bytes of memory and swap; -1: no limit of swap
    cpus: str = ""  # how many CPUs, as "1.5"
    cpu_shares: int | None = None  # relative weight, 1024 by default
    cpu_period: int | None = None  # microseconds
    cpu_quota: int | None = None  # microseconds in each period
    cpuset_cpus: str = ""  # "0-3,5"
    cpuset_mems: str = ""  # memory nodes
    cgroup_parent: str = ""  # a cgroup's path; default: the caller's
