"""A running sandbox, as the host process sees it."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ocitool.errors import SandboxError
from ocitool_runtime.errors import StillRunning, killed, refusal
from ocitool_runtime.host.launch import SHIM, Shim, converse, first_step, spawn, wait_readable
from ocitool_runtime.host.userns.idmap import Maps
from ocitool_runtime.sandbox.protocol import channel
from ocitool_runtime.sandbox.protocol.messages import Ended, Started, StepFailed
from ocitool_runtime.spec import Exit, Stdio

if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import Plan


def start(
    mode: str,
    plan: Plan,
    stdio: Stdio,
    maps: Maps,
    warnings: tuple[str, ...] = (),
    *,
    code: str = SHIM,
) -> ShimProcess:
    """Spawn a shim that executes *plan*; return once the program runs.  Raises SandboxError.

    The process gives *warnings* when it has ended.  *code* is that of another kind of shim.
    """
    streams = (stdio.stdin, stdio.stdout, stdio.stderr)
    if plan["terminal"]:
        streams = (-3, -3, -3)  # subprocess.DEVNULL
    sockets = tuple(mount["socket"] for mount in plan["mounts"] if mount["socket"] >= 0)
    env = {name: os.environ[name] for name in os.environ if name not in plan["withheld"]}
    shim = spawn(mode, plan, streams=streams, pass_fds=sockets, code=code, env=env)
    try:
        message, fds = converse(shim, maps)
        if not isinstance(message, Started):
            raise killed(shim.process.wait(), first_step(mode, plan))
    except BaseException:
        shim.control.close()
        shim.process.wait()
        raise
    return ShimProcess(shim, message.pid, fds, warnings)


class ShimProcess:
    """A `Process` that a shim waits for.  Dropping the last reference ends the program."""

    def __init__(self, shim: Shim, pid: int, handles: list[int], warnings: tuple[str, ...]) -> None:
        self._shim = shim
        self._warnings = warnings
        self._pid = pid
        self._handle, *rest = handles
        self._terminal = rest[0] if rest else None
        self._exit: Exit | None = None
        self._lock = threading.Lock()
        # Guards the descriptors; a signal handler may come in while this thread holds it.
        self._handles_lock = threading.RLock()

    @property
    def pid(self) -> int:
        """The PID of the container init, as the host numbers it."""
        return self._pid

    @property
    def terminal(self) -> int | None:
        """The master of the container's terminal, or None."""
        return self._terminal

    def wait(self, timeout: float | None = None) -> Exit:
        """Wait *timeout* seconds for the end; a second call returns the same.

        Raises:
            StillRunning: it has not ended.
            SandboxError: the shim was killed; the program is killed with it.
        """
        limit = None if timeout is None else time.monotonic() + timeout
        if not self._lock.acquire(timeout=-1 if timeout is None else max(0, timeout)):
            raise StillRunning(f"process {self._pid} has not ended")
        try:
            if self._exit is None:
                left = None if limit is None else limit - time.monotonic()
                if not wait_readable([self._shim.control.fileno()], left):
                    raise StillRunning(f"process {self._pid} has not ended")
                self._exit = self._collect()
            return self._exit
        finally:
            self._lock.release()

    def _collect(self) -> Exit:
        message, _ = channel.receive(self._shim.control)
        if message is None:
            self._signal(signal.SIGKILL)
            self._release()
            raise SandboxError("the sandbox shim was killed")
        self._release()
        if isinstance(message, StepFailed):
            raise refusal(message)
        assert isinstance(message, Ended)
        return _exit(message, self._warnings)

    def _release(self) -> None:
        self._shim.process.wait()
        self._shim.control.close()
        with self._handles_lock:
            handles = (self._handle, self._terminal)
            self._handle, self._terminal = -1, None
            for fd in handles:
                if fd is not None and fd >= 0:
                    os.close(fd)

    def kill(self, signum: int) -> None:
        """Send a signal to the program; does nothing once it has ended."""
        self._signal(signum)

    def _signal(self, signum: int) -> None:
        # By pidfd: the number may be another process by now.
        with self._handles_lock, suppress(ProcessLookupError):
            if self._handle >= 0:
                signal.pidfd_send_signal(self._handle, signum)

    def close(self) -> None:
        """Kill the container if it still runs, and close all descriptors."""
        if self._handle >= 0:
            self._signal(signal.SIGKILL)
            with suppress(SandboxError):
                self.wait()

    def __del__(self) -> None:
        if getattr(self, "_handle", -1) >= 0:
            self.close()


def _exit(message: Ended, warnings: tuple[str, ...]) -> Exit:
    code, killed_by = message.code, 0
    if code < 0:
        code, killed_by = 128 - code, -code
    return Exit(
        code=code,
        signal=killed_by,
        notes=message.notes,
        error=message.text,
        warnings=warnings,
        network_error=message.unconnected,
    )
