"""Which credentials a process has in single-ID mode.

The kernel keeps that itself: as a number in the soft limit RLIMIT_LOCKS of the process, which has
had no effect since Linux 2.4.25.  Children inherit it, whoever their parent is by the time that the
shim looks, it stays over execve(2), and the threads of a process share it.  So the shim need not
know of forks.  Programs are shown no limit, and what they set has no effect (`id_calls`).

Runs in: container init (`mark`), shim.  Imports only the standard library.
Source: prlimit(2), kernel/sys.c, do_prlimit.
"""

from __future__ import annotations

import errno
import os
import resource

from ocitool_runtime.sandbox.notify.seccomp_notify import LeftToKernel
from ocitool_runtime.sandbox.single_id.credentials import ROOT, Credentials

_LIMIT = 10  # RLIMIT_LOCKS, which the module `resource` does not name
_MOST = 1 << 16  # different credentials in a container


class CredentialTable:
    """Numbers for credentials.  The first is that of the user as whom the program starts."""

    def __init__(self, first: Credentials) -> None:
        self._known = [first]
        self._numbers = {ROOT.key(): -1, first.key(): 0}

    def of(self, pid: int) -> Credentials:
        """Return the credentials of the thread *pid*; `LeftToKernel` if it is gone."""
        try:
            soft, hard = resource.prlimit(pid, _LIMIT)
        except OSError:
            raise LeftToKernel from None
        number = hard - 1 - soft
        return self._known[number] if 0 <= number < len(self._known) else ROOT

    def give(self, pid: int, credentials: Credentials) -> None:
        """Make *credentials* those of the process of *pid*; raises OSError."""
        key = credentials.key()
        number = self._numbers.get(key)
        if number is None:
            number = len(self._known)
            if number == _MOST:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self._known.append(credentials)
            self._numbers[key] = number
        _mark(pid, number)


def mark() -> None:
    """Give this process the first credentials."""
    _mark(0, 0)


def _mark(pid: int, number: int) -> None:
    """Write *number*, counted down from the hard limit; -1 is the hard limit itself."""
    hard = resource.prlimit(pid, _LIMIT)[1]
    try:
        resource.prlimit(pid, _LIMIT, (hard - 1 - number, hard))
    except ValueError:  # the hard limit is lower than that
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None
