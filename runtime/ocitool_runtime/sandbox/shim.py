"""The process that is spawned for a sandbox: the shim, which sets it up and waits for it.

    host process --spawn--> shim --fork--> container init (PID 1) --exec--> program

The shim makes the namespaces and the root file system, waits for the container init, removes the
mount points that it made, and kills the container init when the host process is gone.  It starts
as ``python -I -S -E``.  After the pivot nothing may be imported: the container's root is that of
the shim, too, by then.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import _socket
import os

from ocitool_runtime.sandbox import network, userns
from ocitool_runtime.sandbox.cgroups.cgroups import Cgroup
from ocitool_runtime.sandbox.cgroups.limits import Limits
from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.network import Network
from ocitool_runtime.sandbox.notify.socketcall import Sockets
from ocitool_runtime.sandbox.protocol.channel import step, tell
from ocitool_runtime.sandbox.protocol.messages import Ended
from ocitool_runtime.sandbox.protocol.spawned import run
from ocitool_runtime.sandbox.rootfs.devices import Devices, Terminal
from ocitool_runtime.sandbox.rootfs.fuse import FuseServers
from ocitool_runtime.sandbox.rootfs.image_mounts import SharedMounts
from ocitool_runtime.sandbox.rootfs.rootfs import Rootfs
from ocitool_runtime.sandbox.rootfs.working_directory import make_for_user
from ocitool_runtime.sandbox.supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.messages import Listener, Message
    from ocitool_runtime.sandbox.protocol.plan import Plan
    from ocitool_runtime.sandbox.single_id.answers import SingleId

_NAMESPACES = (
    syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP
)


def main() -> None:
    """Serve one spawn."""
    run(_serve)


def _serve(mode: str, control: _socket.socket, plan: Plan) -> None:
    if mode == "sandbox":
        sandbox(control, plan)
    elif mode.startswith("chroot"):
        from ocitool_runtime.sandbox.chroot import sandbox as chroot

        chroot.serve(mode, control, plan)
    else:
        network.probe(control, plan)


class _Setup:
    """What each part of the setup works with."""

    def __init__(self, control: _socket.socket, plan: Plan) -> None:
        self.control = control
        self.plan = plan
        self.notes: list[str] = []
        self.network = Network(plan)


def sandbox(control: _socket.socket, plan: Plan) -> None:
    """Set the sandbox up, run the program, and send how it ended."""
    os.chdir("/")
    os.umask(0o022)
    setup = _Setup(control, plan)
    try:
        if plan["userns"]:
            userns.user_namespace(control)
        setup.network.enter()
        last = _with_image_mounts(setup)
    finally:
        lost = setup.network.end()
    if isinstance(last, Ended):
        last.unconnected = lost
    tell(control, last)  # nothing is mounted any more: the host process may remove the layers now


def _with_image_mounts(setup: _Setup) -> Message:
    """Return the last message: how it ended."""
    shared = SharedMounts(setup.plan["shared"])
    try:
        with step("mount the layers"):
            shared.hold()
        return _in_namespaces(setup)
    finally:
        shared.release()


def _in_namespaces(setup: _Setup) -> Message:
    """Return the last message: how it ended."""
    with step("make namespaces"):
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.make_slave()
    servers = FuseServers()
    try:
        with step("start fuse-overlayfs"):
            servers.start([*setup.plan["rootfs"], *setup.plan["mounts"]])
        return _in_cgroup(setup)
    finally:
        with step("stop fuse-overlayfs"):
            servers.end()


def _in_cgroup(setup: _Setup) -> Message:
    """Return the last message: how it ended."""
    limits = Limits(setup.plan["cgroup_limits"])
    # Without fuse-overlayfs, which needs /dev/fuse.
    cgroup = Cgroup(limits, setup.plan["cgroup_parent"], setup.plan["devices"])
    try:
        with step("make a cgroup"):
            refused = cgroup.enter()
            limits.check(refused)
            if refused:
                setup.notes.append(f"the container has no cgroup of its own: {refused}")
        return _sandbox(setup, cgroup)
    finally:
        cgroup.remove()


def _sandbox(setup: _Setup, cgroup: Cgroup) -> Message:
    """Return the last message: how it ended."""
    plan = setup.plan
    with step("prepare for seccomp notifications"):
        single_id = _single_id(plan) if plan["owners_aside"] else None
        sockets = _sockets(plan) if single_id is None else None
    with step("make namespaces"):
        syscalls.unshare(_NAMESPACES)
    with step("set the host name"):
        if plan["hostname"]:
            _set_hostname(plan, setup.notes)
    with step("mount the root file system"):
        rootfs = Rootfs(plan, cgroup, setup.notes)
    try:
        return _run(setup, rootfs, cgroup, single_id, sockets)
    finally:
        rootfs.clean()


def _set_hostname(plan: Plan, notes: list[str]) -> None:
    try:
        syscalls.sethostname(plan["hostname"].encode())
    except syscalls.Refused as error:  # a filter of an outer container, as podman's
        if plan["hostname_needed"]:
            raise
        notes.append(f"the host name is that of the machine: {error.strerror}")


def _single_id(plan: Plan) -> SingleId:
    from ocitool_runtime.sandbox.single_id.answers import SingleId

    return SingleId(plan["capabilities"], setuid=not plan["no_new_privileges"])


def _sockets(plan: Plan) -> Sockets | None:
    try:
        return Sockets() if plan["notifying"] else None
    except OSError:  # this /proc does not show the PIDs of the callers
        plan["notifying"] = b""
        return None


def _run(
    setup: _Setup,
    rootfs: Rootfs,
    cgroup: Cgroup,
    single_id: SingleId | None,
    sockets: Sockets | None,
) -> Message:
    proc, terminal = _furnish(setup.plan, rootfs, cgroup, setup.notes)

    def enter() -> None:
        with step("mount /proc"):
            rootfs.mount_proc(proc)
        with step("pivot into the root"):
            rootfs.pivot()
        setup.network.wait()

    def forked() -> None:
        if refused := cgroup.leave():
            setup.notes.append(f"the shim stays in the container's cgroup: {refused}")

    def begin(listener: int, first: Listener) -> None:
        assert single_id is not None
        single_id.begin(listener, rootfs.fd, rootfs.owned, first)

    supervisor = Supervisor(setup.control, setup.plan, terminal, setup.notes)
    failed = supervisor.start(enter, forked, sockets, begin if single_id is not None else None)
    return failed or supervisor.wait()


def _furnish(
    plan: Plan, rootfs: Rootfs, cgroup: Cgroup, notes: list[str]
) -> tuple[int, Terminal | None]:
    """Mount all but /proc; return its mount point, and the terminal if there is one."""
    terminal: Terminal | None = None
    with step("make /proc"):
        proc = rootfs.make_proc_point()
    with step("make /dev"):
        made = Devices.make(filtered=cgroup.devices_filtered)
        devices = Devices(rootfs.attach(made, rootfs.points.plain("dev")), notes)
        rootfs.null = devices.fill(plan["shm_size"])
        if plan["terminal"]:
            terminal = devices.open_terminal(*plan["terminal_size"])
    with step("make /sys"):
        rootfs.mount_sys()
    if plan["own_cwd"]:
        with step("make the working directory"):
            make_for_user(rootfs.points, plan)
    with step("mount volumes"):
        rootfs.mount_files()
        rootfs.mount_volumes()
    with step("make the working directory"):
        rootfs.make_cwd()
        if plan["readonly"]:
            rootfs.make_read_only()
    return proc, terminal
