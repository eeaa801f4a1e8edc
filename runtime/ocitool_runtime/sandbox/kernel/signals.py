"""Resetting, blocking and waiting for signals.

Runs in: shim, container init.  Imports only the standard library.
"""

from __future__ import annotations

import ctypes
from ctypes import c_uint64

from ocitool_runtime.sandbox.kernel.syscalls import libc, reset_signal


def reset_signals() -> None:
    """Give every signal its default action and block none (Python ignores SIGPIPE).

    The C library keeps 32 and 33 for its threads and refuses to touch them, but posix_spawn(3)
    leaves 32 ignored in whatever it starts, so that a program under make(1) would inherit that.
    """
    for number in range(1, 65):
        libc.signal(number, None)
    for number in (32, 33):
        reset_signal(number)
    set_signal_mask(0)


def set_signal_mask(mask: int) -> None:
    """Block exactly the signals of *mask* (bit n-1 for signal n)."""
    libc.sigprocmask(2, ctypes.byref((c_uint64 * 16)(mask)), None)


def wait_signal(mask: int) -> int:
    """Wait for one of the blocked signals of *mask* and return its number."""
    got = ctypes.c_int()
    while libc.sigwait(ctypes.byref((c_uint64 * 16)(mask)), ctypes.byref(got)) != 0:
        pass
    return got.value
