"""The container init, PID 1: from the fork to the program, or to the reaper that waits for it.

Without a reaper it becomes the program itself.

The standard library alone: this runs inside the sandbox.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import select
import sys

from ocitool_runtime.sandbox import channel, messages, privileges, signals, syscalls, users
from ocitool_runtime.sandbox.channel import doing, failure
from ocitool_runtime.sandbox.exec import (
    Interpreter,
    NotRunnable,
    candidates,
    execute,
    refuse_interpreter,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ocitool_runtime.sandbox.plan import Plan
    from ocitool_runtime.sandbox.rootfs.devices import Terminal
    from ocitool_runtime.sandbox.rootfs.rootfs import Rootfs
    from ocitool_runtime.sandbox.users import Identity

_TIOCSCTTY = 0x540E
_SIGKILL = 9
_SIGCHLD = 17
_FORWARDED = sum(1 << number - 1 for number in range(1, 65) if number not in (9, 19))
# Docker's for a container without one (moby, oci/defaults.go).
_DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(
    plan: Plan, tree: Rootfs, proc: int, terminal: Terminal | None, shim: _socket.socket
) -> NoReturn:
    """Become the program, or send the shim the reason and exit."""
    try:
        _become(plan, tree, proc, terminal, shim)
    except NotRunnable as error:
        channel.send(shim, messages.ProgramRefused(error.code, error.text))
    except BaseException as error:  # nothing may unwind into the shim's code
        channel.send(shim, failure(error))
    os._exit(125)


def _become(
    plan: Plan, tree: Rootfs, proc: int, terminal: Terminal | None, shim: _socket.socket
) -> None:
    notes: list[str] = []
    interpreter = Interpreter()
    _import_nothing()
    with doing("mount /proc"):
        tree.mount_proc(proc)
    with doing("pivot into the root"):
        tree.pivot()
    with doing("open the streams"):
        for stream in (0, 1, 2):
            if terminal is not None:
                os.dup2(terminal.slave, stream)
        # Before chdir: an open directory would let WORKDIR /proc/self/fd/7 out (CVE-2024-21626).
        syscalls.close_range(3, shim.fileno() - 1)
        syscalls.close_range(shim.fileno() + 1, 0x7FFFFFFF)
    with doing(f"find user {plan['user']}"):
        who = users.resolve(plan["user"])
        if terminal is not None:
            os.fchown(0, who.uid, -1)
    with doing(f"enter the working directory {plan['cwd']}"):
        _enter(plan["cwd"])
    environment = _environment(plan, who)
    found = candidates(plan["args"][0], environment[b"PATH"])
    refuse_interpreter(found, interpreter)
    with doing("drop privileges"):
        listener = _confine(plan, who, notes)
    for note in notes:
        channel.send(shim, messages.Note(note))
    _live_with(shim)
    if plan["init"]:
        _split(shim)
    os.setsid()
    if terminal is not None:
        fcntl.ioctl(0, _TIOCSCTTY, 0)
    with doing("filter system calls"):
        signals.reset_signals()
        if plan["no_new_privileges"]:
            listener = privileges.filter_calls(plan)
    if listener >= 0:
        channel.send(shim, messages.Listener(), (listener,))
        os.close(listener)
    elif plan["owners_aside"]:
        text = "chown and mknod are refused: this kernel has no seccomp notifications"
        channel.send(shim, messages.Note(text))
    execute(plan["args"], environment, found)


def _import_nothing() -> None:
    """Make an import fail from now on: it would run a file of the image as root."""
    sys.path.clear()
    sys.meta_path.clear()


def _enter(cwd: str) -> None:
    os.chdir(cwd)
    # Outside of the root getcwd(2) fails or says "(unreachable)".
    if not os.getcwd().startswith("/"):
        raise OSError(2, "is outside of the container", cwd)


def _environment(plan: Plan, who: Identity) -> dict[bytes, bytes]:
    environment = dict(plan["env"])
    environment.setdefault(b"PATH", _DEFAULT_PATH)
    if not environment.get(b"HOME"):
        environment[b"HOME"] = os.fsencode(who.home)
    return environment


def _confine(plan: Plan, who: Identity, notes: list[str]) -> int:
    """Drop privileges; returns what `privileges.drop` does."""
    try:
        syscalls.join_new_keyring()
    except syscalls.Refused as error:
        # ENOSYS, EPERM: an outer sandbox filters it; there is no keyring to reach then.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            notes.append(f"the session keyring is the caller's: {error.strerror}")
    privileges.set_limits(plan, notes)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    listener = privileges.drop(plan, who, notes)
    os.umask(plan["umask"])
    return listener


def _live_with(shim: _socket.socket) -> None:
    """Die with the shim.  A change of ids clears the signal, so it is asked for after that."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
    poll = select.poll()
    poll.register(shim.fileno(), select.POLLHUP)
    if poll.poll(0):
        os._exit(125)


def _split(shim: _socket.socket) -> None:
    """Fork: the child goes on to be the program, this process stays as the reaper."""
    _block()
    pid = os.fork()
    if pid == 0:
        return
    shim.close()
    for stream in (0, 1, 2):
        os.close(stream)
    os._exit(_reap(pid))


def _block() -> None:
    """Hold all signals back, before the fork, so that none is lost between it and `_reap`."""
    signals.set_signal_mask(_FORWARDED)


def _reap(child: int) -> int:
    """Serve until *child* has ended; return the exit code, 128+n for signal n."""
    while True:
        number = signals.wait_signal(_FORWARDED)
        if number != _SIGCHLD:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                continue
            continue
        status = _collect(child)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def _collect(child: int) -> int | None:
    """Reap all that have ended; return the status of *child* if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status
