"""User namespaces from outside: the maps of this user, whether they work, a program in one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from typing import IO

from ocitool_runtime.host.launch import USERNS, converse, probe
from ocitool_runtime.host.launch import spawn as _spawn_shim
from ocitool_runtime.host.userns.idmap import Maps, current_maps, single_map, usable_maps
from ocitool_runtime.isolation import Support

__all__ = [
    "Maps", "current_maps", "namespaces_work", "single_map", "spawn", "supported", "usable_maps",
]  # fmt: skip

_Stream = int | IO[bytes] | None


@cache
def supported() -> Support:
    """Say whether this user can make a user namespace, by making one (about 15 ms, once)."""
    return _try(Maps() if os.geteuid() == 0 else single_map(), user=True)


@cache
def namespaces_work() -> Support:
    """Say whether root can make the namespaces of a container without a user namespace."""
    return _try(Maps(), user=False)


def _try(maps: Maps, *, user: bool) -> Support:
    if user and not maps.uid_maps:
        maps = single_map()
    return probe("probe", {"userns": user, "args": [], "env": {}}, maps, USERNS)


def spawn(
    argv: Sequence[str],
    *,
    maps: Maps,
    pass_fds: tuple[int, ...] = (),
    stdin: _Stream = None,
    stdout: _Stream = None,
    stderr: _Stream = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Run *argv* as uid 0 with all capabilities in a new user and mount namespace.

    Returns once the program has been executed; streams are as `subprocess.Popen` takes them,
    ``env`` replaces the environment.  With empty *maps* (root) only the mount namespace is new.
    Mounts in it are private and go with the last process.

    Raises:
        SandboxError: no namespace, no maps, or no such program.
    """
    environment = os.environ if env is None else env
    plan = {
        "userns": bool(maps.uid_maps),
        "args": [os.fsencode(arg) for arg in argv],
        "env": {os.fsencode(k): os.fsencode(v) for k, v in environment.items()},
    }
    streams = (stdin, stdout, stderr)
    shim = _spawn_shim("enter", plan, streams=streams, pass_fds=pass_fds, code=USERNS)
    try:
        converse(shim, maps)
    except BaseException:
        shim.control.close()
        with shim.process:  # closes its pipes and waits
            shim.process.kill()
        raise
    shim.control.close()
    return shim.process
