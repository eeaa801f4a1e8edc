"""The plan of a sandbox, as the shim receives it: plain values that marshal can encode.

`ocitool_runtime.host.plan` makes it.  Only type checkers read this module: at run time a plan
is a dictionary.
"""

from __future__ import annotations

from typing import TypedDict


class MountPlan(TypedDict):
    """A mount with its options sorted out; see `Mount`."""

    type: str
    source: str
    target: str
    attributes: int  # MOUNT_ATTR_*
    recursive: bool
    subpath: str
    options: list[tuple[str, str | None]]  # the file system's own
    lower: list[str]
    upper: str
    work: str
    content: bytes  # of a file in memory
    socket: int  # the descriptor of a socket, or -1
    owned: bool
    movable: bool
    served: int  # the mount that fuse-overlayfs serves already; -1: make it


class SharedPlan(TypedDict):
    """An image that is mounted on the host; see `SharedImage`."""

    source: str
    target: str
    devices: list[str]


class FilePlan(TypedDict):
    """A file of the container that is kept in memory."""

    target: str
    content: bytes


class LimitPlan(TypedDict):
    """A resource limit; see `Rlimit`."""

    name: str
    number: int  # RLIMIT_*
    soft: int
    hard: int


class CgroupLimitPlan(TypedDict):
    """Files of a cgroup that set a limit, with what is written to them."""

    options: str  # of the command, for messages
    controller: str
    v1: list[tuple[str, str]]  # "" is what the parent's file has
    v2: list[tuple[str, str]]
    needed: bool  # without it the sandbox is refused


class Plan(TypedDict):
    """What the shim does; see `Sandbox`."""

    shared: list[SharedPlan]
    rootfs: list[MountPlan]
    mounts: list[MountPlan]
    files: list[FilePlan]
    args: list[bytes]
    env: dict[bytes, bytes]
    cwd: str
    own_cwd: bool  # missing directories of it are made for the user, not for root
    user: str
    groups: list[str]
    hostname: str
    hostname_needed: bool  # without it the sandbox is refused
    network: str  # of `Network`, but "default"
    network_helper: list[str]  # of a private network: the program and its arguments
    userns: bool
    readonly: bool
    terminal: bool
    terminal_size: tuple[int, int]
    capabilities: int  # bit mask
    no_new_privileges: bool
    seccomp: bytes  # empty: no filter
    notifying: bytes  # the filter if the shim answers some calls; empty: it answers none
    owners_aside: bool  # single-ID mode: it answers what needs other IDs
    limits: list[LimitPlan]
    devices: list[tuple[str, int, int, str]]  # that may be opened beside docker's list
    cgroup_parent: str  # the cgroup in which the sandbox's is made; "": the caller's
    cgroup_limits: list[CgroupLimitPlan]
    init: bool
    withheld: list[str]
    umask: int
    shm_size: int
