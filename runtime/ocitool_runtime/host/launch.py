"""Spawning the shim: a fresh interpreter, a control socket, and the plan in memory.

Spawned and never forked: a fork of a threaded program may inherit a lock that is never released.
"""

from __future__ import annotations

import marshal
import math
import os
import select
import subprocess
import sys
import time
from _socket import socket
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ocitool.errors import SandboxError, SandboxUnavailable
from ocitool_runtime.errors import killed, refusal
from ocitool_runtime.host import LIBRARY
from ocitool_runtime.host.userns.idmap import Maps, write_maps
from ocitool_runtime.isolation import Support
from ocitool_runtime.sandbox.protocol import channel
from ocitool_runtime.sandbox.protocol.messages import (
    MapsWanted,
    MapsWritten,
    Message,
    ProbeDone,
    StepFailed,
)

# The library comes last: no file beside it may replace a module of the standard library.
_START: Final = "import sys; sys.path.append(sys.argv[1]); "
#: Seconds between two looks for signals that did not interrupt a wait.
SIGNAL_LATENCY: Final = 0.5
#: What a shim executes; that of a plugin calls `ocitool_runtime.sandbox.protocol.spawned.run`.
SHIM: Final = "from ocitool_runtime.sandbox.shim import main; main()"
#: What a process executes that needs a user namespace and nothing else of a sandbox.
USERNS: Final = "from ocitool_runtime.sandbox.userns import main; main()"


class Shim(NamedTuple):
    """A shim that was spawned, and the host's end of its control socket."""

    process: subprocess.Popen[bytes]
    control: socket


def spawn(
    mode: str,
    plan: Any,
    *,
    streams: tuple[Any, Any, Any],
    pass_fds: tuple[int, ...] = (),
    code: str = SHIM,
    env: Mapping[str, str] | None = None,
) -> Shim:
    """Spawn a shim that executes *code*, and dies when its control socket is closed.

    ``streams`` and ``env`` are as `subprocess.Popen` takes them.  Raises SandboxError.
    """
    if not sys.executable:
        raise SandboxUnavailable(
            "the path of the Python interpreter is unknown: sys.executable is empty"
        )
    ours, theirs = channel.pair()
    memory = os.memfd_create("plan", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(memory), "wb") as file:
            file.write(marshal.dumps(plan))
        words = ("-I", "-S", "-E", "-X", "utf8", "-c", _START + code, LIBRARY, mode)
        process = subprocess.Popen(
            [sys.executable, *words, str(theirs.fileno()), str(memory)],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            pass_fds=(theirs.fileno(), memory, *pass_fds),
            env=env,
            start_new_session=True,  # Ctrl-C is forwarded by us, not by the terminal
            cwd="/",
        )
    except OSError as error:
        ours.close()
        raise SandboxError(f"cannot start {sys.executable}: {error.strerror}") from error
    finally:
        theirs.close()
        os.close(memory)
    return Shim(process, ours)


def converse(shim: Shim, maps: Maps) -> tuple[Message | None, list[int]]:
    """Answer the shim until it sends its first result; return that and its descriptors.

    None: the shim closed its end, as an exec does.  Raises SandboxError.
    """
    while True:
        message, fds = channel.receive(shim.control)
        if isinstance(message, StepFailed):
            raise refusal(message)
        if not isinstance(message, MapsWanted):
            return message, fds
        write_maps(shim.process.pid, maps)
        channel.send(shim.control, MapsWritten())


def probe(mode: str, plan: Any, maps: Maps, code: str = SHIM) -> Support:
    """Say whether a shim that executes *code* can do what *mode* tries; changes nothing."""
    null = subprocess.DEVNULL
    try:
        shim = spawn(mode, plan, streams=(null, null, null), code=code)
        try:
            message, _ = converse(shim, maps)
        finally:
            shim.control.close()
            status = shim.process.wait()
        if not isinstance(message, ProbeDone):
            raise killed(status, first_step(mode, plan))
    except SandboxError as error:
        return Support(ok=False, reason=str(error), hint=error.hint)
    return Support(ok=True)


def first_step(mode: str, plan: Any) -> str:
    """Return the first step of a shim that a kernel or a filter may refuse."""
    if mode.startswith("chroot"):
        return "change the root directory"
    return "make a user namespace" if plan["userns"] else "make namespaces"


def wait_readable(fds: list[int], timeout: float | None) -> bool:
    """Wait until one of *fds* can be read or is closed; False after *timeout* seconds.

    Signals are handled meanwhile.  One that comes just before poll(2), or to another thread, does
    not interrupt it, and Python calls its handler only when poll has returned: so it returns often.
    """
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    end = math.inf if timeout is None else time.monotonic() + timeout
    while not poll.poll(1000 * max(0, min(SIGNAL_LATENCY, end - time.monotonic()))):
        if time.monotonic() >= end:
            return False
    return True
