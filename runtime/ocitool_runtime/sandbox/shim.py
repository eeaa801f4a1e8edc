"""The process that is spawned for a sandbox: the shim, which sets it up and waits for it.

    host process --spawn--> shim --fork--> container init (PID 1) --exec--> program

The shim makes the namespaces and the root file system, waits for the container init, removes the
mount points that it made, and kills the container init when the host process is gone.  It starts
as ``python -I -S -E``.  After the pivot nothing may be imported: the container's root is that of
the shim, too, by then.

The standard library alone: this runs inside the sandbox.
"""

from __future__ import annotations

import _socket
import marshal
import os
import select
import sys

from ocitool_runtime.sandbox import channel, init, syscalls, userns
from ocitool_runtime.sandbox.cgroups import Cgroup
from ocitool_runtime.sandbox.channel import doing, failure
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
from ocitool_runtime.sandbox.rootfs.fuse import Servers
from ocitool_runtime.sandbox.rootfs.rootfs import Rootfs
from ocitool_runtime.sandbox.rootfs.shared_mounts import Shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.notify.notify import OwnershipHandler
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
    except BaseException as error:  # the parent must learn of every end
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
    except OSError:  # the parent is gone; nobody is left to tell
        return


def sandbox(control: _socket.socket, plan: Plan) -> None:
    """Build the sandbox, run the program, report how it ended."""
    notes: list[str] = []
    os.chdir("/")
    os.umask(0o022)
    if plan["userns"]:
        userns.user_namespace(control)
    shared = Shared(plan["shared"])
    try:
        with doing("show the layers"):
            shared.hold()
        last = _in_namespaces(control, plan, notes)
    finally:
        shared.release()
    _send(control, last)  # when nothing is held any more: the parent may remove the layers now


def _in_namespaces(control: _socket.socket, plan: Plan, notes: list[str]) -> Message:
    """Return the last message: how it ended."""
    with doing("make namespaces"):
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.make_slave()
    servers = Servers()
    try:
        with doing("serve the layers"):
            servers.start([*plan["rootfs"], *plan["mounts"]])
        return _in_cgroup(control, plan, notes)
    finally:
        with doing("end the programs that serve the layers"):
            servers.end()


def _in_cgroup(control: _socket.socket, plan: Plan, notes: list[str]) -> Message:
    """Return the last message: how it ended."""
    cgroup = Cgroup()  # not for the programs that serve the layers: they need /dev/fuse
    try:
        with doing("make a cgroup"):
            if refused := cgroup.enter():
                notes.append(f"the container has no cgroup of its own: {refused}")
        return _sandbox(control, plan, cgroup, notes)
    finally:
        cgroup.remove()


def _sandbox(control: _socket.socket, plan: Plan, cgroup: Cgroup, notes: list[str]) -> Message:
    """Return the last message: how it ended."""
    with doing("answer for the kernel"):
        handler = _ownership_handler() if plan["owners_aside"] else None
        sockets = _sockets(plan) if handler is None else None
    with doing("make namespaces"):
        network = syscalls.CLONE_NEWNET if plan["network"] == "none" else 0
        syscalls.unshare(_NAMESPACES | network)
    with doing("name the host"):
        if plan["hostname"]:
            syscalls.sethostname(plan["hostname"].encode())
        if network:
            raise_loopback()
    with doing("mount the root"):
        tree = Rootfs(plan, cgroup, notes)
    try:
        return _run(control, plan, tree, cgroup, notes, handler, sockets)
    finally:
        tree.clean()


def _ownership_handler() -> OwnershipHandler:
    from ocitool_runtime.sandbox.notify import (
        notify,  # few need it, and after the pivot nothing can be imported
    )

    return notify.OwnershipHandler()


def _sockets(plan: Plan) -> Sockets | None:
    try:
        return Sockets() if plan["notifying"] else None
    except OSError:  # the callers would be strangers in this /proc
        plan["notifying"] = b""
        return None


def _run(
    control: _socket.socket,
    plan: Plan,
    tree: Rootfs,
    cgroup: Cgroup,
    notes: list[str],
    handler: OwnershipHandler | None,
    sockets: Sockets | None,
) -> Message:
    proc, terminal = _furnish(plan, tree, cgroup, notes)
    ours, theirs = channel.pair()
    # The host's: once the container init has pivoted, a path is one of the container's.
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    with doing("fork the container init"):
        pid = os.fork()
    if pid == 0:
        ours.close()
        init.main(plan, tree, proc, terminal, theirs)
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
        handler.begin(listeners[0], tree.fd)
        listeners.clear()
    status = os.waitstatus_to_exitcode(_await(control, pid, handle, sockets, listeners))
    code, text = (status, "") if ended is None else (ended.code, ended.text)
    return Ended(code, tuple(dict.fromkeys(notes)), text)


def _furnish(
    plan: Plan, tree: Rootfs, cgroup: Cgroup, notes: list[str]
) -> tuple[int, Terminal | None]:
    """Mount all but /proc; return its mount point, and the terminal if there is one."""
    terminal: Terminal | None = None
    with doing("make /proc"):
        proc = tree.make_proc_point()
    with doing("make /dev"):
        made = Devices.make(filtered=cgroup.devices_filtered)
        devices = Devices(tree.attach(made, tree.points.plain("dev")), notes)
        tree.null = devices.fill(plan["shm_size"])
        if plan["terminal"]:
            terminal = devices.open_terminal(*plan["terminal_size"])
    with doing("make /sys"):
        tree.mount_sys()
    with doing("mount volumes"):
        tree.mount_files()
        tree.mount_volumes()
    with doing("make the working directory"):
        tree.make_cwd()
        if plan["readonly"]:
            tree.make_read_only()
    return proc, terminal


def _leave_stdio(null: int) -> None:
    """Let go of the program's streams: who reads them must see their end."""
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
    """Wait for the container init, and answer its calls; kill it if the parent is gone."""
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
