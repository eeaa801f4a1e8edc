"""Process 1 that passes signals on, reaps orphans and ends as its child ends.

The standard library alone: this runs inside the sandbox.
"""

from __future__ import annotations

import os

from ocitool_runtime import signals

_SIGCHLD = 17
_FORWARDED = sum(1 << number - 1 for number in range(1, 65) if number not in (9, 19))


def block() -> None:
    """Hold all signals back, before the fork, so that none is lost between it and `reap`."""
    signals.set_signal_mask(_FORWARDED)


def reap(child: int) -> int:
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
