"""Starting the container init, and waiting for it: what every way to isolate has in common.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import _socket
import os
import select

from ocitool_runtime.sandbox import init
from ocitool_runtime.sandbox.protocol import channel
from ocitool_runtime.sandbox.protocol.channel import step, tell
from ocitool_runtime.sandbox.protocol.messages import (
    Ended,
    Listener,
    Note,
    ProgramRefused,
    Started,
    StepFailed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from ocitool_runtime.sandbox.protocol.plan import Plan
    from ocitool_runtime.sandbox.rootfs.devices import Terminal

    class Answers(Protocol):
        """Who answers the system calls that a filter hands over."""

        def serve(self, listener: int) -> bool:
            """Answer the next call on the filter's *listener*; False once no caller is left."""


_KILL = 9


class Supervisor:
    """One container init, from its fork to its end."""

    def __init__(
        self, control: _socket.socket, plan: Plan, terminal: Terminal | None, notes: list[str]
    ) -> None:
        self._control = control
        self._plan = plan
        self._terminal = terminal
        self._notes = notes
        self._listeners: list[int] = []
        self._answers: Answers | None = None
        self._begin: Callable[[int, Listener], None] | None = None
        self._pid = self._handle = -1
        self._ended: StepFailed | ProgramRefused | None = None

    def start(
        self,
        enter: Callable[[], None],
        forked: Callable[[], None],
        answers: Answers | None,
        begin: Callable[[int, Listener], None] | None = None,
    ) -> StepFailed | None:
        """Fork the container init, which calls *enter* to enter its root directory.

        This process calls *forked* after the fork, and *answers* answers calls from then on.  With
        *begin* somebody else does: it is called with the filter's listener.
        Returns once the program runs, or why it does not.
        """
        self._answers = answers
        self._begin = begin
        ours, theirs = channel.pair()
        # The host's: after a pivot a path is one of the container's.
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        with step("fork the container init"):
            self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            init.main(self._plan, enter, self._terminal, theirs)
        forked()
        theirs.close()
        _leave_stdio(null)
        with step("watch the container init"):
            self._handle = os.pidfd_open(self._pid)
        self._until_exec(ours)
        if isinstance(self._ended, StepFailed):
            os.waitpid(self._pid, 0)
            return self._ended
        if self._terminal is None:
            tell(self._control, Started(self._pid), (self._handle,))
        else:
            tell(self._control, Started(self._pid), (self._handle, self._terminal.master))
            self._terminal.close()  # else it would never hang up
        return None

    def wait(self) -> Ended:
        """Wait for the end of the program."""
        status = os.waitstatus_to_exitcode(self._await())
        notes = tuple(dict.fromkeys(self._notes))
        if isinstance(self._ended, ProgramRefused):
            return Ended(self._ended.code, notes, self._ended.text)
        return Ended(status, notes, "")

    def _until_exec(self, ours: _socket.socket) -> None:
        """Wait until the container init is the program, or for the reason why it is not."""
        poll = select.poll()
        poll.register(ours.fileno(), select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd != ours.fileno():  # it looks for the program under its filter
                    self._serve(fd, poll)
                    continue
                message, fds = channel.receive(ours)
                if message is None:  # its end closes on exec
                    return
                if isinstance(message, Note):
                    self._notes.append(message.text)
                elif isinstance(message, Listener) and self._begin is not None:
                    self._begin(fds[0], message)
                elif isinstance(message, Listener):
                    self._listeners += fds
                    for listener in fds if self._answers is not None else ():
                        poll.register(listener, select.POLLIN)
                elif isinstance(message, (StepFailed, ProgramRefused)):
                    self._ended = message

    def _serve(self, listener: int, poll: select.poll) -> None:
        """Answer a call; do so no longer once no caller is left."""
        if self._answers is None or not self._answers.serve(listener):
            poll.unregister(listener)

    def _await(self) -> int:
        """Return the status of the container init; kill it if the host process is gone."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        poll.register(self._control.fileno(), select.POLLIN | select.POLLHUP)
        for listener in self._listeners:
            poll.register(listener, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._handle:
                    return os.waitpid(self._pid, 0)[1]
                if fd in self._listeners:
                    self._serve(fd, poll)
                elif channel.receive(self._control)[0] is None:
                    os.kill(self._pid, _KILL)
                    poll.unregister(self._control.fileno())


def _leave_stdio(null: int) -> None:
    """Close the program's streams here, so that their readers see the end of the program."""
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
