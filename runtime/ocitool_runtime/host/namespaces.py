"""The default isolation: Linux namespaces, set up by a shim."""

from __future__ import annotations

import os
import sys

from ocitool.errors import SandboxError
from ocitool_runtime.host import userns
from ocitool_runtime.host.idmap import Maps
from ocitool_runtime.host.plan import make_plan
from ocitool_runtime.host.process import ShimProcess, start
from ocitool_runtime.isolation import Support
from ocitool_runtime.spec import Sandbox, Stdio

_MACHINES = ("x86_64", "aarch64")


class Namespaces:
    """Programs in their own user, mount, PID, IPC, UTS, cgroup and network namespaces."""

    def probe(self) -> Support:
        """Say whether this works here, for this user; changes nothing."""
        if sys.platform != "linux":
            return Support(ok=False, reason="namespaces need Linux", hint="run ocitool on Linux")
        machine = os.uname().machine
        if machine not in _MACHINES:
            return Support(ok=False, reason=f"the machine {machine} is not supported")
        if os.geteuid() == 0:
            return userns.namespaces_work()
        return userns.supported()

    def start(self, sandbox: Sandbox, stdio: Stdio) -> ShimProcess:
        """Start the program and return once it is running; see `Isolation.start`."""
        if os.geteuid() != 0 and not sandbox.uid_maps:
            raise SandboxError(
                "only root can run a container without a user namespace",
                where="uid_maps",
                hint="pass the maps of ocitool_runtime.host.userns.usable_maps()",
            )
        maps = Maps(uid_maps=sandbox.uid_maps, gid_maps=sandbox.gid_maps)
        return start("sandbox", make_plan(sandbox), stdio, maps)
