"""The container init, PID 1: from the fork until it executes the program.

With `Sandbox.init` it stays, reaps orphans and passes on signals, and its child is the program.

Runs in: container init.  Imports only the standard library.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import select
import sys

from ocitool_runtime.sandbox import privileges, users
from ocitool_runtime.sandbox.exec import (
    Interpreter,
    NotRunnable,
    candidates,
    execute,
    refuse_interpreter,
)
from ocitool_runtime.sandbox.kernel import signals, syscalls
from ocitool_runtime.sandbox.protocol import channel, messages
from ocitool_runtime.sandbox.protocol.channel import failure, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ocitool_runtime.sandbox.protocol.plan import Plan
    from ocitool_runtime.sandbox.rootfs.devices import Terminal
    from ocitool_runtime.sandbox.users import User

_TIOCSCTTY = 0x540E
_SIGKILL = 9
_SIGCHLD = 17
_FORWARDED = sum(1 << number - 1 for number in range(1, 65) if number not in (9, 19))


def main(
    plan: Plan, enter: Callable[[], None], terminal: Terminal | None, shim: _socket.socket
) -> NoReturn:
    """Become the program, or send the shim the reason and exit; *enter* changes the root."""
    try:
        _become(plan, enter, terminal, shim)
    except NotRunnable as error:
        channel.send(shim, messages.ProgramRefused(error.code, error.text))
    except BaseException as error:  # nothing may unwind into the shim's code
        channel.send(shim, failure(error))
    os._exit(125)


def _become(
    plan: Plan, enter: Callable[[], None], terminal: Terminal | None, shim: _socket.socket
) -> None:
    notes: list[str] = []
    mark = _mark(plan)
    interpreter = Interpreter()
    _import_nothing()
    enter()
    with step("open the streams"):
        _open_streams(terminal, shim)
    with step("change the user"):
        user = users.resolve(plan["user"], groups=plan["groups"])
        if terminal is not None and not plan["owners_aside"]:
            os.fchown(0, user.uid, -1)
    with step(f"enter the working directory {plan['cwd']}"):
        _enter(plan["cwd"])
    environment = _environment(plan, user)
    found = candidates(plan["args"][0], environment[b"PATH"])
    refuse_interpreter(found, interpreter)
    with step("set the resource limits"):
        privileges.set_limits(plan)
    with step("drop privileges"):
        listener = _confine(plan, user, notes)
    for note in notes:
        channel.send(shim, messages.Note(note))
    _live_with(shim)
    if plan["init"]:
        _split(shim, listener)
    os.setsid()
    if terminal is not None:
        fcntl.ioctl(0, _TIOCSCTTY, 0)
    with step("filter system calls"):
        signals.reset_signals()
        mark()
        if privileges.filters_last(plan):
            listener = privileges.filter_calls(plan)
    if listener >= 0:
        groups = tuple(sorted({user.gid, *user.groups, *user.added}))
        channel.send(shim, messages.Listener(user.gid, groups, user.uid), (listener,))
        os.close(listener)
    elif plan["owners_aside"]:
        with step("drop privileges"):
            _refuse_other_users(user)
        text = "chown, mknod and setuid are refused: this kernel has no seccomp notifications"
        channel.send(shim, messages.Note(text))
    execute(plan["args"], environment, found)


def _open_streams(terminal: Terminal | None, shim: _socket.socket) -> None:
    if terminal is not None:
        for stream in (0, 1, 2):
            os.dup2(terminal.slave, stream)
    # Before chdir: an open directory would let WORKDIR /proc/self/fd/7 out (CVE-2024-21626).
    syscalls.close_range(3, shim.fileno() - 1)
    syscalls.close_range(shim.fileno() + 1, 0x7FFFFFFF)


def _mark(plan: Plan) -> Callable[[], None]:
    """Return what gives this process its IDs in single-ID mode, where the kernel has no others."""
    if not plan["owners_aside"]:
        return lambda: None
    from ocitool_runtime.sandbox.single_id.credential_table import mark

    return mark


def _refuse_other_users(user: User) -> None:
    if (user.uid, user.gid) != (0, 0):
        raise syscalls.Refused(errno.EINVAL, "setresuid", f"{user.uid}:{user.gid}")


def _import_nothing() -> None:
    """Make every import fail from now on: it would run a file of the image as root."""
    sys.path.clear()
    sys.meta_path.clear()


def _enter(cwd: str) -> None:
    os.chdir(cwd)
    # Outside of the root getcwd(2) fails or says "(unreachable)".
    if not os.getcwd().startswith("/"):
        raise OSError(2, "it is outside of the container", cwd)


def _environment(plan: Plan, user: User) -> dict[bytes, bytes]:
    environment = dict(plan["env"])
    if not environment.get(b"HOME"):
        environment[b"HOME"] = os.fsencode(user.home)
    return environment


def _confine(plan: Plan, user: User, notes: list[str]) -> int:
    """Drop privileges; return what `privileges.drop` returns."""
    try:
        syscalls.join_new_keyring()
    except syscalls.Refused as error:
        # ENOSYS, EPERM: an outer sandbox filters it; there is no keyring to reach then.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            notes.append(f"the session keyring is the caller's: {error.strerror}")
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    listener = privileges.drop(plan, user, notes)
    os.umask(plan["umask"])
    return listener


def _live_with(shim: _socket.socket) -> None:
    """Have the kernel kill this process when the shim ends; a change of IDs would clear that."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
    poll = select.poll()
    poll.register(shim.fileno(), select.POLLHUP)
    if poll.poll(0):
        os._exit(125)


def _split(shim: _socket.socket, listener: int) -> None:
    """Fork: the child becomes the program, this process stays as the init that reaps."""
    _block()
    pid = os.fork()
    if pid == 0:
        return
    shim.close()
    for fd in (0, 1, 2, listener):
        if fd >= 0:
            os.close(fd)
    os._exit(_reap(pid))


def _block() -> None:
    """Block all signals before the fork, so that none is lost until `_reap` waits for them."""
    signals.set_signal_mask(_FORWARDED)


def _reap(child: int) -> int:
    """Reap, and pass signals on to *child*, until it ends; return its code, 128+n for signal n."""
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
