"""User namespaces from inside: the handshake for ID maps, a program in one, the probe.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import _socket
import os

from ocitool_runtime.sandbox.kernel import signals, syscalls
from ocitool_runtime.sandbox.protocol import channel, messages
from ocitool_runtime.sandbox.protocol.channel import step
from ocitool_runtime.sandbox.protocol.spawned import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import Plan


def user_namespace(control: _socket.socket) -> None:
    """Enter a new user namespace and become its root; the host process writes the maps."""
    with step("make a user namespace"):
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    with step("map IDs"):
        channel.send(control, messages.MapsWanted())
        if channel.receive(control)[0] is None:
            os._exit(125)  # the host process is gone
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def main() -> None:
    """Serve one spawn, of mode ``enter`` (run a program in the namespaces) or ``probe``."""
    run(_serve)


def _serve(mode: str, control: _socket.socket, plan: Plan) -> None:
    if plan["userns"]:
        user_namespace(control)
    with step("make a mount namespace" if plan["userns"] else "make namespaces"):
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.make_slave()
    if mode == "probe":
        with step("make namespaces"):
            syscalls.unshare(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC)
        channel.send(control, messages.ProbeDone())
        return
    with step(f"run {os.fsdecode(plan['args'][0])}"):
        signals.reset_signals()
        os.execvpe(plan["args"][0], plan["args"], plan["env"])
