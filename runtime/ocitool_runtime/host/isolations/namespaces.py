"""The default isolation: Linux namespaces, set up by a shim."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from ocitool.errors import SandboxError
from ocitool_runtime.defaults import Network
from ocitool_runtime.errors import NoPrivateNetwork, StepRefused
from ocitool_runtime.host import private_network
from ocitool_runtime.host.plan import make_plan, parse_network
from ocitool_runtime.host.process import ShimProcess, start
from ocitool_runtime.host.userns import userns
from ocitool_runtime.host.userns.idmap import Maps
from ocitool_runtime.isolation import Support
from ocitool_runtime.sandbox.network import CONNECT
from ocitool_runtime.spec import Sandbox, Stdio

_MACHINES = ("x86_64", "aarch64")


class Namespaces:
    """Programs in their own user, mount, PID, IPC, UTS, cgroup and network namespaces."""

    def __init__(self) -> None:
        self._private_works = True  # until it was tried

    def probe(self) -> Support:
        """Say whether this works here, for this user; changes nothing."""
        if sys.platform != "linux":
            return Support(ok=False, reason="namespaces need Linux", hint="run ocitool on Linux")
        machine = os.uname().machine
        if machine not in _MACHINES:
            return Support(ok=False, reason=f"the architecture {machine} is not supported")
        if os.geteuid() == 0:
            return userns.namespaces_work()
        return userns.supported()

    def start(self, sandbox: Sandbox, stdio: Stdio) -> ShimProcess:
        """Start the program and return once it is running; see `Isolation.start`."""
        if os.geteuid() != 0 and not sandbox.uid_maps:
            raise SandboxError(
                "only root can run a container without a user namespace",
                where="uid_maps",
                hint="pass the maps of ocitool_runtime.host.userns.userns.usable_maps()",
            )
        network = parse_network(sandbox.network)
        if network is Network.PRIVATE:
            return _start_private(sandbox, stdio)
        warnings: tuple[str, ...] = ()
        if network is Network.DEFAULT and self._private_works:
            try:
                return _start_private(sandbox, stdio)
            except (NoPrivateNetwork, StepRefused) as error:
                if isinstance(error, StepRefused) and error.step != CONNECT:
                    raise
                self._private_works = False
                warnings = (f"the host's network is used: {error.message}",)
        return _start(sandbox, stdio, warnings=warnings)


def _start_private(sandbox: Sandbox, stdio: Stdio) -> ShimProcess:
    command = private_network.helper(userns=bool(sandbox.uid_maps))
    return _start(replace(sandbox, network=Network.PRIVATE), stdio, network_helper=command)


def _start(
    sandbox: Sandbox,
    stdio: Stdio,
    *,
    network_helper: Sequence[str] = (),
    warnings: tuple[str, ...] = (),
) -> ShimProcess:
    maps = Maps(uid_maps=sandbox.uid_maps, gid_maps=sandbox.gid_maps)
    return start("sandbox", make_plan(sandbox, network_helper), stdio, maps, warnings)
