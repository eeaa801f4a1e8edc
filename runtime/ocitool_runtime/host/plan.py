"""From a `Sandbox` to the plan that the shim executes: checked, with numbers for names.

Invalid values are refused here, before anything is spawned.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ocitool.errors import SandboxError
from ocitool_runtime.defaults import DEFAULT_PATH, Network, Rlimit
from ocitool_runtime.host import capabilities, seccomp
from ocitool_runtime.host.etc_files import host_files
from ocitool_runtime.resources import cgroup_limits
from ocitool_runtime.spec import Mount, Sandbox

if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import LimitPlan, MountPlan, Plan, SharedPlan

_PATH_MAX: Final = 4096  # bytes, with the NUL at the end, linux/limits.h
_ATTRIBUTES: Final = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "nosymfollow": 0x200000}
_CLEARED: Final = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec"}
_OWNED: Final = re.compile(r"mode=[0-7]{1,4}|uid=\d+|gid=\d+")
_VALUES: Final = {
    "file": _OWNED,
    "socket": _OWNED,
    "tmpfs": re.compile(r"(size=\d+[kmg%]?|mode=[0-7]{1,4}|uid=\d+|gid=\d+|nr_inodes=\d+[kmg]?)"),
    "overlay": re.compile(
        r"userxattr|volatile|(index|metacopy|nfs_export)=(on|off)|xino=(on|off|auto)"
        r"|redirect_dir=(on|off|follow|nofollow)|uuid=(on|off|auto|null)|subpath=.+"
    ),
    "fuse-overlayfs": re.compile(r"subpath=.+"),
    "bind": re.compile(r"bind|rbind|subpath=.+"),
    "volume": re.compile(r"(?!)"),  # none of its own
}
# In the order of their numbers (include/uapi/asm-generic/resource.h).
_LIMITS: Final = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
]


def make_plan(sandbox: Sandbox, network_helper: Sequence[str] = ()) -> Plan:
    """Return the plan for *sandbox*; raises SandboxError for invalid values.

    *network_helper* is the command that connects a private network; a network that is left to
    choice is the host's.
    """
    _check(sandbox)
    network = parse_network(sandbox.network)
    mask = capabilities.mask(sandbox.capabilities)
    return {
        "shared": _shared((*sandbox.rootfs, *sandbox.mounts)),
        "rootfs": [_mount(mount) for mount in sandbox.rootfs],
        "mounts": [_mount(mount) for mount in sandbox.mounts],
        "files": host_files(sandbox),
        "args": [os.fsencode(arg) for arg in sandbox.args],
        "env": _environment(sandbox.env),
        "cwd": sandbox.cwd,
        "own_cwd": sandbox.own_cwd,
        "user": sandbox.user,
        "groups": list(sandbox.groups),
        "hostname": sandbox.hostname,
        "hostname_needed": sandbox.hostname_needed,
        # A plain string: the plan is marshalled.
        "network": (Network.HOST if network is Network.DEFAULT else network).value,
        "network_helper": list(network_helper),
        "userns": bool(sandbox.uid_maps),
        "readonly": sandbox.readonly,
        "terminal": sandbox.terminal,
        "terminal_size": sandbox.terminal_size,
        "capabilities": mask,
        "no_new_privileges": sandbox.no_new_privileges,
        "seccomp": _filter(sandbox) if sandbox.seccomp else b"",
        "notifying": _filter(sandbox, notify=True) if sandbox.seccomp else b"",
        "owners_aside": sandbox.owners_aside,
        "limits": [_limit(limit) for limit in sandbox.rlimits],
        "devices": [(each.kind, each.major, each.minor, each.access) for each in sandbox.devices],
        "cgroup_parent": sandbox.resources.parent,
        "cgroup_limits": cgroup_limits(sandbox.resources),
        "init": sandbox.init,
        "withheld": list(sandbox.withheld),
        "umask": sandbox.umask,
        "shm_size": sandbox.shm_size,
    }


def _check(sandbox: Sandbox) -> None:
    for name in ("args", "env", "withheld", "groups", "hosts", "dns", "capabilities"):
        if isinstance(getattr(sandbox, name), str):  # which is a sequence of strings, too
            raise SandboxError("expected a sequence of strings, got a string", where=name)
    if not sandbox.args:
        raise SandboxError("no command specified", where="args", hint="name a command to run")
    if not sandbox.rootfs or sandbox.rootfs[0].target != "/":
        raise SandboxError("the first mount must have the target /", where="rootfs")
    if not sandbox.cwd.startswith("/"):
        raise SandboxError(
            f"working directory {sandbox.cwd!r} is not an absolute path", where="cwd"
        )
    if (size := len(os.fsencode(sandbox.cwd))) >= _PATH_MAX:
        # Before its directories are made: chdir(2) refuses it only afterwards.
        raise SandboxError(
            f"the path of the working directory is too long: {size} bytes", where="cwd"
        )
    if sandbox.uid_maps and any(m.shared for m in (*sandbox.rootfs, *sandbox.mounts)):
        raise SandboxError("a user namespace cannot mount EROFS images", where="uid_maps")
    if bool(sandbox.uid_maps) != bool(sandbox.gid_maps):
        raise SandboxError("uid_maps and gid_maps must be given together", where="uid_maps")
    if sandbox.owners_aside and not sandbox.seccomp:
        raise SandboxError(
            "ownership override xattrs need the seccomp filter", where="owners_aside"
        )
    if sandbox.owners_aside and any(limit.name == "locks" for limit in sandbox.rlimits):
        # Which has no effect in Linux; it is where the IDs of processes are kept.
        raise SandboxError(
            "the resource limit locks is not supported for a user with a single ID", where="rlimits"
        )
    if sandbox.init and "CAP_SYS_PTRACE" in capabilities.normal(sandbox.capabilities):
        # /proc/1/exe would be the host's interpreter, open to be overwritten (CVE-2019-5736).
        raise SandboxError("init cannot be combined with CAP_SYS_PTRACE", where="init")
    texts = (*sandbox.args, *sandbox.env, sandbox.cwd, sandbox.user, sandbox.hostname)
    if any("\0" in text for text in texts):
        raise SandboxError("the arguments or the environment contain a NUL byte", where="args")


def parse_network(network: str) -> Network:
    """Return the network of that name; raises SandboxError for an unknown one."""
    try:
        return Network(network)
    except ValueError:
        hint = f"one of {', '.join(Network)}"
        raise SandboxError(
            f"network {network!r} is not supported", where="network", hint=hint
        ) from None


def _environment(env: tuple[str, ...]) -> dict[bytes, bytes]:
    found = {b"PATH": os.fsencode(DEFAULT_PATH)}
    for entry in env:
        name, equals, value = entry.partition("=")
        if not name or not equals:
            raise SandboxError(
                f"environment entry {entry!r} is not of the form NAME=VALUE", where="env"
            )
        found[os.fsencode(name)] = os.fsencode(value)
    return found


def _filter(sandbox: Sandbox, *, notify: bool = False) -> bytes:
    program = seccomp.program(
        capabilities.normal(sandbox.capabilities),
        # The thread that answers for a single id makes no sockets.
        notify=notify and not sandbox.owners_aside,
        single_id=notify and sandbox.owners_aside,
    )
    if program is None:
        machine = os.uname().machine
        raise SandboxError(
            f"no seccomp filter is available for {machine}", where="seccomp", hint="run without it"
        )
    return program


def _limit(limit: Rlimit) -> LimitPlan:
    if limit.name not in _LIMITS:
        known = ", ".join(_LIMITS)
        raise SandboxError(
            f"unknown resource limit {limit.name!r}", where="rlimits", hint=f"one of {known}"
        )
    if limit.hard != -1 and (limit.soft == -1 or limit.soft > limit.hard):
        raise SandboxError(
            f"resource limit {limit.name}: the soft limit is above the hard limit", where="rlimits"
        )
    number = _LIMITS.index(limit.name)
    return {"name": limit.name, "number": number, "soft": limit.soft, "hard": limit.hard}


def _shared(mounts: tuple[Mount, ...]) -> list[SharedPlan]:
    images = {image.target: image for mount in mounts for image in mount.shared}
    for image in images.values():
        if not all(path.startswith("/") for path in (image.source, image.target, *image.devices)):
            raise SandboxError("the paths of a shared image must be absolute", where=image.target)
    return [
        {"source": image.source, "target": image.target, "devices": list(image.devices)}
        for image in images.values()
    ]


def _require_valid(mount: Mount, where: str) -> None:
    if mount.type not in _VALUES:
        raise SandboxError(
            f"unknown mount type {mount.type!r}",
            where=where,
            hint=f"one of {', '.join(sorted(_VALUES))}",
        )
    if not mount.target.startswith("/"):
        raise SandboxError(f"mount target {mount.target!r} is not an absolute path", where=where)
    stacks = mount.type in ("overlay", "fuse-overlayfs")
    if stacks and (not mount.lower or bool(mount.upper) != bool(mount.work)):
        raise SandboxError(
            f"a mount of type {mount.type} needs lower directories, and upper and work together",
            where=where,
        )
    paths = (mount.source, *mount.lower, mount.upper, mount.work)
    if any(path and not path.startswith("/") for path in paths):
        raise SandboxError("the source of a mount must be an absolute path", where=where)
    if mount.type == "bind" and not mount.source:
        raise SandboxError("a bind mount needs a source", where=where)
    if (mount.type == "socket") != (mount.socket >= 0):
        raise SandboxError("a socket needs a descriptor, and nothing else does", where=where)


def _mount(mount: Mount) -> MountPlan:
    where = f"mount {mount.target}"
    _require_valid(mount, where)
    attributes, own = _options(mount, _VALUES[mount.type], where)
    single = {key: value for key, _, value in (option.partition("=") for option in own)}
    subpath = single.get("subpath", "")
    return {
        "type": mount.type,
        "source": mount.source,
        "target": mount.target,
        "attributes": attributes,
        "recursive": "rbind" in own,
        "subpath": subpath,
        "options": [
            (k, v or None) for k, v in single.items() if k not in ("subpath", "bind", "rbind")
        ],
        "lower": list(mount.lower),
        "upper": mount.upper,
        "work": mount.work,
        "content": mount.content,
        "socket": mount.socket,
        "owned": mount.owned,
        "movable": mount.movable,
        "served": -1,
    }


def _options(mount: Mount, known: re.Pattern[str], where: str) -> tuple[int, list[str]]:
    """Return the mount's attributes and the rest; nothing unknown passes (CVE-2024-9407)."""
    attributes = _ATTRIBUTES["nodev"]  # a cgroup cannot filter devices everywhere
    own: list[str] = []
    for option in mount.options:
        if option in _ATTRIBUTES:
            attributes |= _ATTRIBUTES[option]
        elif option in _CLEARED:
            attributes &= ~_ATTRIBUTES[_CLEARED[option]]
        elif known.fullmatch(option):
            own.append(option)
        else:
            raise SandboxError(
                f"unknown option {option!r} for a mount of type {mount.type}", where=where
            )
    return attributes, own
