"""A program in a chroot: what the shim does where it may neither mount nor make namespaces.

The program sees the processes, the network and the host name of the shim.  What it leaves running
is killed, as its orphans become the shim's children (PR_SET_CHILD_SUBREAPER).

Runs in: shim; entering the root: container init.  Imports only the standard library.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import struct
import termios

from ocitool_runtime.sandbox.chroot import contents
from ocitool_runtime.sandbox.chroot.lookup import Root
from ocitool_runtime.sandbox.chroot.proc_files import ProcFiles
from ocitool_runtime.sandbox.chroot.tree import Tree
from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.notify import seccomp_notify
from ocitool_runtime.sandbox.protocol import channel, messages
from ocitool_runtime.sandbox.protocol.channel import step, tell
from ocitool_runtime.sandbox.rootfs import memory_files
from ocitool_runtime.sandbox.rootfs.devices import Terminal
from ocitool_runtime.sandbox.rootfs.working_directory import make_for_user
from ocitool_runtime.sandbox.supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.messages import Message
    from ocitool_runtime.sandbox.protocol.plan import Plan

_SIGKILL = 9


def serve(mode: str, control: _socket.socket, plan: Plan) -> None:
    """Serve the modes ``chroot`` (run a program) and ``chroot-probe`` (try whether it works)."""
    with step("find the own process in /proc"):
        proc = seccomp_notify.open_proc()
    if mode == "chroot":
        _run_in_tree(control, plan, proc)
        return
    with step("change the root directory"):
        os.chroot("/")
    channel.send(control, messages.ProbeDone())


def _run_in_tree(control: _socket.socket, plan: Plan, proc: int) -> None:
    """Run the program in the tree of the plan, and send how it ended; *proc* is an open /proc."""
    os.chdir("/")
    os.umask(0o022)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # only who may trace any process has access to it
    with step("open the root directory"):
        tree = Tree(plan["rootfs"][0]["source"])
    try:
        last = _run(control, plan, tree, proc)
    finally:
        with step("end what the program has left running"):
            end_children()
        with step("restore the root directory"):
            tree.restore()
    tell(control, last)


def _run(control: _socket.socket, plan: Plan, tree: Tree, proc: int) -> Message:
    notes: list[str] = []
    with step("make /dev, /proc and /sys"):
        dev = tree.directory("dev")
        nodes = contents.fill_dev(dev)
        for mount in plan["mounts"]:
            if mount["type"] == "bind" and not mount["movable"]:
                contents.copy_scripts(mount["source"], dev, mount["target"].removeprefix("/dev/"))
        proc_directory = tree.directory("proc")
        contents.fill_proc(proc_directory)
        contents.fill_sys(tree.directory("sys"))
        if plan["own_cwd"]:
            make_for_user(tree.points, plan)
        tree.files(plan["files"])
    with step("mount volumes"):
        tree.close_off(proc_directory)
        for mount in plan["mounts"]:
            if mount["movable"]:
                tree.move(mount)
            elif mount["type"] in memory_files.TYPES:
                tree.place(mount)
            elif mount["type"] == "volume":
                tree.make_directory(mount["target"])
    answers = ProcFiles(proc, Root(tree.path, tree.fd), nodes=nodes)
    terminal = _terminal(*plan["terminal_size"]) if plan["terminal"] else None

    def enter() -> None:
        with step("change the root directory"):
            os.fchdir(tree.fd)
            os.chroot(".")
            _make_cwd(plan["cwd"])

    supervisor = Supervisor(control, plan, terminal, notes)
    failed = supervisor.start(enter, lambda: None, answers)
    return failed or supervisor.wait()


def _terminal(rows: int, columns: int) -> Terminal:
    with step("open a terminal"):
        master, slave = os.openpty()
        if rows and columns:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return Terminal(master, slave)


def _make_cwd(path: str) -> None:
    """Make the working directory if it is missing, owned by root; if not, chdir(2) says why."""
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError:
        return


def end_children() -> None:
    """Kill and reap all descendants: those of a killed one become children of this process."""
    while True:
        alive = _children()
        for pid in alive:
            try:
                os.kill(pid, _SIGKILL)
            except ProcessLookupError:
                continue
        try:
            os.waitpid(-1, 0 if alive else os.WNOHANG)
        except ChildProcessError:
            return


def _children() -> list[int]:
    """Return the processes whose parent this one is (proc(5), /proc/pid/stat)."""
    found = []
    me = os.getpid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == me and fields[0] != b"Z":
                found.append(int(name))
    return found
