"""Isolation by chroot(2) alone, where namespaces are refused: root in a container of docker's
defaults or in a pod.

It isolates nothing between the program and the process that starts it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Final

from ocitool.errors import SandboxError, SandboxUnavailable
from ocitool_runtime.defaults import SHM_SIZE, Network, Resources
from ocitool_runtime.host import capabilities, seccomp
from ocitool_runtime.host.launch import probe
from ocitool_runtime.host.plan import make_plan
from ocitool_runtime.host.process import ShimProcess, start
from ocitool_runtime.host.userns.idmap import Maps
from ocitool_runtime.isolation import Support
from ocitool_runtime.spec import Sandbox, Stdio

#: The only place where a read-only bind mount is replaced by a copy: scripts of heredocs.
_COPIED: Final = "/dev/"


_WARNING: Final = (
    "programs run in a chroot, which does not isolate them from this process, its network and its "
    "files"
)


class Chroot:
    """Programs in a root directory of their own, and in the namespaces of their caller.

    With *fallback* nobody has asked for it by its name, and the first program's `Exit` warns.
    """

    moves = True

    def __init__(self, *, fallback: bool = False) -> None:
        self._warnings: tuple[str, ...] = (_WARNING,) if fallback else ()

    def fallback(self) -> Chroot:
        """Return this for a user who has not asked for it."""
        return Chroot(fallback=True)

    def probe(self) -> Support:
        """Say whether this works here, for this user; changes nothing."""
        if sys.platform != "linux" or os.geteuid() != 0:
            return Support(ok=False, reason="only root can use chroot")
        return probe("chroot-probe", {}, Maps())

    def start(self, sandbox: Sandbox, stdio: Stdio) -> ShimProcess:
        """Start the program and return once it is running; see `Isolation.start`."""
        if os.geteuid() != 0:
            raise SandboxUnavailable(
                "isolation by chroot needs root", hint="use --isolation namespaces, or be root"
            )
        _check(sandbox)
        # Without CAP_SYS_ADMIN only a program that gains no privileges may have a filter.
        plan = make_plan(replace(sandbox, no_new_privileges=True))
        if plan["seccomp"]:
            kept = capabilities.normal(sandbox.capabilities)
            plan["notifying"] = seccomp.program(kept, notify=True, files=True) or b""
        warnings, self._warnings = self._warnings, ()
        return start("chroot", plan, stdio, Maps(), warnings)


def _check(sandbox: Sandbox) -> None:
    first, *others = sandbox.rootfs
    if others or first.type != "bind" or "ro" in first.options or sandbox.readonly:
        raise SandboxError(
            "isolation by chroot needs a root directory that is writable and not mounted",
            hint="use --driver vfs, and a root file system that is not read-only",
        )
    if os.path.realpath(first.source) == "/":  # its /dev would be moved aside for all programs
        raise SandboxError("the root directory of this machine cannot be a chroot")
    for mount in sandbox.mounts:
        if mount.type in ("file", "socket", "volume") or mount.movable:
            continue  # which are made in the tree, or moved there
        if (
            mount.type != "bind"
            or "ro" not in mount.options
            or not mount.target.startswith(_COPIED)
        ):
            raise SandboxError(
                "isolation by chroot does not support volumes", where=f"mount {mount.target}",
                hint="use --isolation namespaces",
            )  # fmt: skip
    network = sandbox.network not in (Network.DEFAULT, Network.HOST)
    limits = sandbox.resources != Resources()
    for refused, what, instead in (
        (network, f"network '{sandbox.network}'", "use --network host, or "),
        (sandbox.hostname_needed, "a host name", "use "),
        (sandbox.shm_size != SHM_SIZE, "--shm-size", "use "),
        (sandbox.devices, "devices", "use "),
        (limits, "resource limits", "limit this process itself, or use "),
    ):
        if refused:
            raise SandboxError(
                f"isolation by chroot does not support {what}",
                hint=f"{instead}--isolation namespaces",
            )
    if not sandbox.seccomp:
        raise SandboxError(
            "isolation by chroot does not work without the seccomp filter",
            hint="use --isolation namespaces",
        )
    if sandbox.uid_maps or sandbox.gid_maps:
        raise SandboxError("isolation by chroot has no user namespace")
