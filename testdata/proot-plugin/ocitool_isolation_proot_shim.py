"""The shim of a PRoot sandbox: it prepares the tree, starts PRoot, and waits for the program.

    host process --spawn--> shim --fork, exec--> PRoot --fork--> init --fork, exec--> program

The init is the one of `ocitool_isolation_proot_machine`.  What a program leaves running is killed
by PRoot, which does that upon SIGQUIT: a program that is traced no longer would see the host.

Runs in: shim.  Imports the standard library and the runtime alone.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import fcntl
import os
import select
import shutil
import signal
import stat
import struct

from ocitool_runtime.sandbox import privileges, users
from ocitool_runtime.sandbox.chroot import contents
from ocitool_runtime.sandbox.chroot.sandbox import end_children
from ocitool_runtime.sandbox.chroot.tree import Tree
from ocitool_runtime.sandbox.exec import candidates, refusal
from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.files import write_all
from ocitool_runtime.sandbox.kernel.signals import reset_signals
from ocitool_runtime.sandbox.protocol import channel
from ocitool_runtime.sandbox.protocol.channel import failure, step, tell
from ocitool_runtime.sandbox.protocol.messages import Ended, Started, StepFailed
from ocitool_runtime.sandbox.protocol.spawned import run
from ocitool_runtime.sandbox.rootfs.devices import NODES
from ocitool_runtime.sandbox.rootfs.mountpoints import MountPoints

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocitool_runtime.sandbox.protocol.messages import Message
    from ocitool_runtime.sandbox.protocol.plan import MountPlan, Plan

    class ProotPlan(Plan):
        """A plan, and what this isolation adds to it."""

        proot: str  # the program
        filter: bytes  # for seccomp(2)
        elf: bytes  # the container init
        place: str  # of a probe: an empty directory
        bound: tuple[str, str]  # of a probe: shown, and in place of what


_REPORT = 3  # the descriptor to which the init writes
_PATIENCE = 100  # milliseconds between two signals to PRoot
_READ_ONLY = 1  # MOUNT_ATTR_RDONLY
_INIT = ".init"


def main() -> None:
    """Serve one spawn: the mode ``run``, and ``probe``, whose root is that of the host."""
    run(_serve)


def _serve(mode: str, control: _socket.socket, plan: ProotPlan) -> None:
    os.chdir("/")
    os.umask(0o022)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    if mode == "probe":
        init = f"{plan['place']}/{_INIT}"
        _write_init(init, plan["elf"])
        last = _Sandbox(control, plan, "/", plan["place"]).run(init, [plan["bound"]])
    else:
        last = _run_in_tree(control, plan)
    tell(control, last)


def _run_in_tree(control: _socket.socket, plan: ProotPlan) -> Message:
    """Run the program in the tree of the plan.

    PRoot lets programs write to directories whose modes do not allow it, as root may, except the
    root directory, which is therefore open for all of the time.
    """
    root = plan["rootfs"][0]["source"]
    mode = stat.S_IMODE(os.stat(root).st_mode)
    os.chmod(root, mode | 0o700)
    try:
        return _run_in_open_tree(control, plan, root)
    finally:
        if stat.S_IMODE(os.stat(root).st_mode) == mode | 0o700:  # the program did not change it
            os.chmod(root, mode)


def _run_in_open_tree(control: _socket.socket, plan: ProotPlan, root: str) -> Message:
    with step("open the root directory"), _opened(root):
        tree = Tree(root)
    points = MountPoints(tree.fd)
    place = os.path.join(os.path.dirname(tree.path), "proot")
    try:
        with _opened(root):
            bound = _prepare(tree, points, plan)
        os.mkdir(place, 0o700)
        return _Sandbox(control, plan, tree.path, place).run(f"/dev/{_INIT}", bound)
    finally:
        with step("restore the root directory"), _opened(root):
            shutil.rmtree(place, ignore_errors=True)
            points.clean()
            tree.restore()


@contextlib.contextmanager
def _opened(root: str) -> Iterator[None]:
    """Let the owner write to what gets entries, also where its mode is 0555."""
    closed = []
    for path in (root, f"{root}/etc"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # missing, or a link
            continue
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        os.fchmod(fd, mode | 0o700)
        closed.append((fd, mode))
    try:
        yield
    finally:
        for fd, mode in closed:
            os.fchmod(fd, mode)
            os.close(fd)


def _prepare(tree: Tree, points: MountPoints, plan: ProotPlan) -> list[tuple[str, str]]:
    """Make all that is not the image's own; return what is to be bound."""
    with step("make /dev, /proc and /sys"):
        bound = _furnish(tree, plan)
    with step("make the mount points of volumes"):
        for mount in plan["mounts"]:
            if mount["type"] == "volume":
                tree.make_directory(mount["target"])
        volumes = [_volume(points, mount, tree.path) for mount in _volumes(plan)]
    with step(f"enter the working directory {plan['cwd']}"):
        _make_cwd(points, volumes, plan["cwd"])
    with step(f"become user {plan['user'] or 'root'}"):
        _find_user(tree, plan)
    return [*bound, *volumes]


def _furnish(tree: Tree, plan: ProotPlan) -> list[tuple[str, str]]:
    """Replace what a container has in place of the image's own; return what is to be bound."""
    dev = tree.directory("dev")
    contents.fill_dev(dev)
    for mount in plan["mounts"]:
        if mount["type"] == "bind" and mount not in _volumes(plan):
            contents.copy_scripts(mount["source"], dev, mount["target"].removeprefix("/dev/"))
    _write_init(f"{tree.path}/dev/{_INIT}", plan["elf"])
    os.close(tree.directory("proc"))
    os.close(tree.directory("sys"))
    tree.files(plan["files"])
    paths = ["/proc", "/sys", "/dev/pts", *(f"/dev/{name}" for name in NODES)]
    return [(path, path) for path in paths if os.path.exists(path)]


def _write_init(path: str, elf: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
    write_all(fd, elf)
    os.close(fd)


def _volumes(plan: ProotPlan) -> list[MountPlan]:
    mounts = [each for each in plan["mounts"] if each["type"] == "bind"]
    return [each for each in mounts if each["movable"] or not each["attributes"] & _READ_ONLY]


def _volume(points: MountPoints, mount: MountPlan, root: str) -> tuple[str, str]:
    """Return a volume's source, and the path that its target leads to, made if missing."""
    point = points.open(mount["target"], directory=os.path.isdir(mount["source"]))
    inside = os.readlink(f"/proc/self/fd/{point}").removeprefix(root)
    os.close(point)
    return mount["source"], inside


def _make_cwd(points: MountPoints, volumes: list[tuple[str, str]], cwd: str) -> None:
    """Make the working directory if it is missing, in the tree or in a volume."""
    for source, inside in volumes:
        if f"{cwd}/".startswith(f"{inside}/"):
            os.makedirs(source + cwd.removeprefix(inside), exist_ok=True)
            return
    fd = points.open(cwd, directory=True, keep=True)
    try:
        if not stat.S_ISDIR(os.stat(fd).st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    finally:
        os.close(fd)


def _find_user(tree: Tree, plan: ProotPlan) -> None:
    """Refuse all users but root, whose home directory becomes the default of HOME."""
    found = []
    for name in ("etc/passwd", "etc/group"):
        try:
            found.append(f"/proc/self/fd/{syscalls.open_in_root(tree.fd, name)}")
        except OSError:
            found.append("/nonexistent")
    user = users.resolve(plan["user"], *found)
    if user.uid or user.gid:
        raise OSError(
            errno.EPERM,
            "PRoot has no other than root: use --isolation namespaces or chroot where they work",
        )
    if not plan["env"].get(b"HOME"):
        plan["env"][b"HOME"] = os.fsencode(user.home)


class _Sandbox:
    """One PRoot, and the program in it."""

    def __init__(self, control: _socket.socket, plan: ProotPlan, root: str, place: str) -> None:
        self._control = control
        self._plan = plan
        self._root = root
        self._place = place
        self._pid = self._report = -1
        self._init = ""

    def run(self, init: str, bound: list[tuple[str, str]]) -> Message:
        """Run the program of the plan; return how it ended."""
        self._init = f"{self._root.rstrip('/')}{init}"
        found = candidates(self._plan["args"][0], self._plan["env"][b"PATH"])
        environment = [name + b"=" + value for name, value in self._plan["env"].items()]
        command = [b"proot", b"-v", b"-1", b"-0", b"-r", os.fsencode(self._root)]
        command += [b"-w", os.fsencode(self._plan["cwd"])]
        for source, target in bound:
            command += [b"-b", os.fsencode(f"{source}:{target}!")]
        words = [os.fsencode(init), *found, b"", *environment, b"", *self._plan["args"]]
        self._start([*command, *words])
        try:
            return self._wait(found)
        finally:
            with step("end what the program has left running"):
                self._end()

    def _start(self, command: list[bytes]) -> None:
        self._report, writing = os.pipe2(os.O_CLOEXEC)
        ours, theirs = channel.pair()
        with step("fork PRoot"):
            self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            try:
                self._become(command, writing, theirs.fileno())
            except BaseException as error:  # nothing may unwind into the shim's code
                channel.send(theirs, failure(error))
            os._exit(125)
        theirs.close()
        os.close(writing)
        _leave_stdio()
        message, _ = channel.receive(ours)  # its end closes on exec
        ours.close()
        if isinstance(message, StepFailed):
            raise channel.Failure(message)

    def _become(self, command: list[bytes], writing: int, theirs: int) -> None:
        plan = self._plan
        os.dup2(fcntl.fcntl(writing, fcntl.F_DUPFD, 100), _REPORT)
        syscalls.close_range(_REPORT + 1, theirs - 1)
        syscalls.close_range(theirs + 1, 0x7FFFFFFF)
        with step("set the resource limits"):
            privileges.set_limits(plan)
        os.umask(plan["umask"])
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGQUIT)
        with step("filter system calls"):
            reset_signals()
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
            for program in filter(None, (plan["seccomp"], plan["filter"])):
                syscalls.seccomp(program)
        with step(f"start {plan['proot']}"):
            # The program's environment is no business of PRoot's: its LD_PRELOAD, for one.
            environment = {"PATH": os.defpath, "PROOT_TMP_DIR": self._place}
            os.execve(plan["proot"], command, environment)

    def _wait(self, found: list[bytes]) -> Message:
        pid = self._number()
        if pid is None:
            return _failed("start PRoot", "it ended before the program was executed")
        if pid < 0:
            tell(self._control, Started(self._pid), (os.pidfd_open(self._pid),))
            denied = OSError(-pid, os.strerror(-pid)) if pid != -errno.ENOENT else None
            reason = refusal(self._plan["args"][0], found, denied, self._exists)
            return Ended(reason.code, (), reason.text)
        os.unlink(self._init)
        self._tell_started(pid)
        status = self._number()
        if status is None:
            return _failed("wait for the program", "PRoot or the init was killed")
        return Ended(os.waitstatus_to_exitcode(status), (), "")

    def _tell_started(self, pid: int) -> None:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended, and the init has taken its status
            handle = os.pidfd_open(self._pid)
        tell(self._control, Started(pid), (handle,))
        os.close(handle)

    def _number(self) -> int | None:
        """Return the next number that the init writes; None: it or the host process is gone."""
        poll = select.poll()
        poll.register(self._report, select.POLLIN)
        poll.register(self._control.fileno(), select.POLLIN | select.POLLHUP)
        if any(fd != self._report for fd, _ in poll.poll()):
            return None
        data = os.read(self._report, 4)
        return struct.unpack("i", data)[0] if len(data) == 4 else None

    def _exists(self, path: bytes) -> bool:
        """Say whether *path* is a file of the container, be it a link that leads nowhere."""
        joined = os.path.join(self._plan["cwd"], os.fsdecode(path))
        directory, name = os.path.split(joined)
        try:
            root = os.open(self._root, os.O_PATH | os.O_CLOEXEC)
            os.lstat(name, dir_fd=syscalls.open_in_root(root, directory))
        except OSError:
            return False
        return True

    def _end(self) -> None:
        """Have PRoot kill all that it traces and end; then kill what is left of it."""
        poll = select.poll()
        poll.register(os.pidfd_open(self._pid), select.POLLIN)
        while not poll.poll(0):
            os.kill(self._pid, signal.SIGQUIT)
            poll.poll(_PATIENCE)
        end_children()


def _failed(step: str, text: str) -> StepFailed:
    return StepFailed(number=0, path="", step=step, syscall="", text=text)


def _leave_stdio() -> None:
    """Close the program's streams here, so that their readers see the end of the program."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
