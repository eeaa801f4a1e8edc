"""Processes that have lost their parents: they come to this one, and none may stay."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_PATIENCE: Final = 20.0  # seconds


def adopt() -> None:
    """Become the parent of every orphan among what is started from now on (prctl(2))."""
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("orphans cannot be adopted")


def children() -> set[int]:
    """Return the processes whose parent this one is."""
    threads = Path("/proc/self/task").iterdir()
    return {int(pid) for thread in threads for pid in (thread / "children").read_text().split()}


def await_orphans(own: set[int]) -> list[str]:
    """Wait for all but *own* to end by themselves; returns what did not, and was killed."""
    deadline = time.monotonic() + _PATIENCE
    while orphans := children() - own:
        for pid in orphans:
            os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            left = [f"process {pid}: {_line(pid)}" for pid in children() - own]
            for pid in children() - own:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            return left
        time.sleep(0.002)
    return []


def _line(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return b" ".join(words)[:200].decode("utf-8", "replace")
