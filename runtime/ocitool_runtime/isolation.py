"""The interface between a sandbox that is to run and an implementation of isolation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol, cast

from ocitool.plugins import lookup
from ocitool_runtime.spec import Exit, Sandbox, Stdio


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Whether something works on this machine; if not, why, and what would help."""

    ok: bool
    reason: str = ""
    hint: str = ""


class Process(Protocol):
    """A running sandbox.  The methods may be called from any thread."""

    @property
    def pid(self) -> int:
        """PID 1 of the container, as the host numbers it."""

    @property
    def terminal(self) -> int | None:
        """The terminal's master, if the sandbox has one; closed by `wait` and `close`."""

    def wait(self, timeout: float | None = None) -> Exit:
        """Wait *timeout* seconds for the end; a second call returns the same.

        Raises:
            StillRunning: it has not ended.
            SandboxError: the sandbox itself failed.
        """

    def kill(self, signum: int) -> None:
        """Send a signal to the program; does nothing once it has ended."""

    def close(self) -> None:
        """Kill the container if it still runs, and release all resources."""


class Isolation(Protocol):
    """A way to run programs isolated from the host.  Methods raise only `SandboxError`.

    One that isolates less than a user expects may have a further method, ``fallback()``, which
    returns the isolation for a user who has not asked for it by its name: `Exit.warnings` of its
    first program say what it does not isolate.

    One that mounts nothing has an attribute ``moves``, which is true: of `Sandbox.mounts` it then
    gets directories that are `Mount.movable`, files and sockets.
    """

    def probe(self) -> Support:
        """Say whether this works here, for this user; changes nothing."""

    def start(self, sandbox: Sandbox, stdio: Stdio) -> Process:
        """Start the program and return once it is running.

        A program that is missing or cannot be executed is an `Exit` (127, 126), not an error.

        Raises:
            SetupFailed: the machine refused a step.
            SandboxError: *sandbox* is invalid, or needs what this isolation does not support.
        """


def start(
    isolation: Isolation, sandbox: Sandbox, *, stdin: int | None, stdout: int, stderr: int
) -> Process:
    """Start *sandbox* on these descriptors; without *stdin* the program reads /dev/null."""
    if stdin is not None:
        return isolation.start(sandbox, Stdio(stdin=stdin, stdout=stdout, stderr=stderr))
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return isolation.start(sandbox, Stdio(stdin=null, stdout=stdout, stderr=stderr))
    finally:
        os.close(null)


def get_isolation(name: str = "namespaces") -> Isolation:
    """Return a new isolation by its name; `PluginError` if it is unknown."""
    return cast("Isolation", lookup("ocitool.isolation", name)())
