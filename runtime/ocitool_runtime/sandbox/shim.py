"""The process that is spawned for a sandbox: the shim, which sets it up and waits for it.

    host process --spawn--> shim --fork--> container init (PID 1) --exec--> program

The shim makes the namespaces and the root file system, waits for the container init, removes the
mount points that it made, and kills the container init when the host process is gone.  It starts
as ``python -I -S -E``.  After the pivot nothing may be imported: the container's root is that of
the shim, too, by then.

Runs in: shim.  Imports the standard library alone.
"""

from __future__ import annotations

import _socket
import marshal
import os
import select
import sys

from ocitool_runtime.sandbox import channel, init, syscalls, userns
from ocitool_runtime.sandbox.cgroups import Cgroup
from ocitool_runtime.sandbox.channel import failure, step
from ocitool_runtime.sandbox.messages import (
    Ended,
    Listener,
    Message,
    Note,
    ProgramRefused,
    Started,
    StepFailed,
)
from ocitool_runtime.sandbox.network import raise_loopback
from ocitool_runtime.sandbox.notify.socketcall import Sockets
from ocitool_runtime.sandbox.rootfs.devices import Devices, Terminal
from ocitool_runtime.sandbox.rootfs.fuse import FuseServers
from ocitool_runtime.sandbox.rootfs.image_mounts import SharedMounts
from ocitool_runtime.sandbox.rootfs.rootfs import Rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.notify.chown_mknod import OwnershipHandler
    from ocitool_runtime.sandbox.plan import Plan

_KILL = 9
_NAMESPACES = (
    syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP
)


def main() -> None:
    """Serve one spawn: argv is [-c, library directory, mode, control socket, plan]."""
    mode, control_fd, plan_fd = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    for fd in (control_fd, plan_fd):
        os.set_inheritable(fd, False)
    control = channel.adopt(control_fd)
    try:
        if mode == "sandbox":
            sandbox(control, _read_plan(plan_fd))
        else:
            userns.main(mode, control, _read_plan(plan_fd))
    except BaseException as error:  # the host process must learn of every failure
        _send(control, failure(error))
        os._exit(125)
    os._exit(0)


def _read_plan(fd: int) -> Plan:
    size = os.fstat(fd).st_size
    plan: Plan = marshal.loads(os.pread(fd, size, 0))
    os.close(fd)
    return plan


def _send(control: _socket.socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    try:
        channel.send(control, message, fds)
    except OSError:  # the host process is gone
        return


def sandbox(control: _socket.socket, plan: Plan) -> None:
    """Set the sandbox up, run the program, and send how it ended."""
    notes: list[str] = []
    os.chdir("/")
    os.umask(0o022)
    if plan["userns"]:
        userns.user_namespace(control)
    shared = SharedMounts(plan["shared"])
    try:
        with step("mount the layers"):
            shared.hold()
        last = _in_namespaces(control, plan, notes)
    finally:
        shared.release()
    _send(control, last)  # nothing is mounted any more: the host process may remove the layers now


def _in_namespaces(control: _socket.socket, plan: Plan, notes: list[str]) -> Message:
    """Return the last message: how it ended."""
    with step("make namespaces"):
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.make_slave()
    servers = FuseServers()
    try:
        with step("start fuse-overlayfs"):
            servers.start([*plan["rootfs"], *plan["mounts"]])
        return _in_cgroup(control, plan, notes)
    finally:
        with step("stop fuse-overlayfs"):
            servers.end()


def _in_cgroup(control: _socket.socket, plan: Plan, notes: list[str]) -> Message:
    """Return the last message: how it ended."""
    cgroup = Cgroup()  # without fuse-overlayfs, which needs /dev/fuse
    try:
        with step("make a cgroup"):
            if refused := cgroup.enter():
                notes.append(f"the container has no cgroup of its own: {refused}")
        return _sandbox(control, plan, cgroup, notes)
    finally:
        cgroup.remove()


def _sandbox(control: _socket.socket, plan: Plan, cgroup: Cgroup, notes: list[str]) -> Message:
    """Return the last message: how it ended."""
    with step("prepare for seccomp notifications"):
        handler = _ownership_handler() if plan["owners_aside"] else None
        sockets = _sockets(plan) if handler is None else None
    with step("make namespaces"):
        network = syscalls.CLONE_NEWNET if plan["network"] == "none" else 0
        syscalls.unshare(_NAMESPACES | network)
    with step("set the host name"):
        if plan["hostname"]:
            syscalls.sethostname(plan["hostname"].encode())
        if network:
            raise_loopback()
    with step("mount the root file system"):
        rootfs = Rootfs(plan, cgroup, notes)
    try:
        return _run(control, plan, rootfs, cgroup, notes, handler, sockets)
    finally:
        rootfs.clean()


def _ownership_handler() -> OwnershipHandler:
    from ocitool_runtime.sandbox.notify import chown_mknod

    return chown_mknod.OwnershipHandler()


def _sockets(plan: Plan) -> Sockets | None:
    try:
        return Sockets() if plan["notifying"] else None
    except OSError:  # this /proc does not show the PIDs of the callers
        plan["notifying"] = b""
        return None


def _run(
    control: _socket.socket,
    plan: Plan,
    rootfs: Rootfs,
    cgroup: Cgroup,
    notes: list[str],
    handler: OwnershipHandler | None,
    sockets: Sockets | None,
) -> Message:
    proc, terminal = _furnish(plan, rootfs, cgroup, notes)
    ours, theirs = channel.pair()
    # The host's: after the pivot a path is one of the container's.
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    with step("fork the container init"):
        pid = os.fork()
    if pid == 0:
        ours.close()
        init.main(plan, rootfs, proc, terminal, theirs)
    if refused := cgroup.leave():
        notes.append(f"the shim stays in the container's cgroup: {refused}")
    theirs.close()
    _leave_stdio(null)
    handle = os.pidfd_open(pid)
    listeners: list[int] = []
    ended = _until_exec(ours, notes, listeners)
    if isinstance(ended, StepFailed):
        os.waitpid(pid, 0)
        return ended
    if terminal is None:
        _send(control, Started(pid), (handle,))
    else:
        _send(control, Started(pid), (handle, terminal.master))
        terminal.close()  # else it would never hang up
    if handler is not None and listeners:
        handler.begin(listeners[0], rootfs.fd)
        listeners.clear()
    status = os.waitstatus_to_exitcode(_await(control, pid, handle, sockets, listeners))
    code, text = (status, "") if ended is None else (ended.code, ended.text)
    return Ended(code, tuple(dict.fromkeys(notes)), text)


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
    with step("mount volumes"):
        rootfs.mount_files()
        rootfs.mount_volumes()
    with step("make the working directory"):
        rootfs.make_cwd()
        if plan["readonly"]:
            rootfs.make_read_only()
    return proc, terminal


def _leave_stdio(null: int) -> None:
    """Close the program's streams here, so that their readers see the end of the program."""
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def _until_exec(
    ours: _socket.socket, notes: list[str], listeners: list[int]
) -> StepFailed | ProgramRefused | None:
    """Wait until the container init is the program: None; or return why it is not."""
    ended: StepFailed | ProgramRefused | None = None
    while True:
        message, fds = channel.receive(ours)
        if message is None:  # its end closes on exec
            return ended
        if isinstance(message, Note):
            notes.append(message.text)
        elif isinstance(message, Listener):
            listeners += fds
        elif isinstance(message, (StepFailed, ProgramRefused)):
            ended = message


def _await(
    control: _socket.socket,
    pid: int,
    handle: int,
    sockets: Sockets | None,
    listeners: list[int],
) -> int:
    """Wait for the container init, and answer its calls; kill it if the host process is gone."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(control.fileno(), select.POLLIN | select.POLLHUP)
    for listener in listeners:
        poll.register(listener, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == handle:
                return os.waitpid(pid, 0)[1]
            if fd in listeners:
                if sockets is None or not sockets.serve(fd):
                    poll.unregister(fd)
            elif channel.receive(control)[0] is None:
                os.kill(pid, _KILL)
                poll.unregister(control.fileno())
