"""Leases: which unfinished work belongs to which process, and whether that process is alive.

The directory of a lease is locked with flock(2) while its process is alive.  Its name begins with
the time it was made, and the keys of its snapshots begin with its name.
"""

from __future__ import annotations

import os
import time
from typing import Final

from ocitool.layer.beneath import remove_tree
from ocitool.layer.locks import is_locked, make_locked, try_lock
from ocitool.store.directory.full_disk import full_disk, keep_reserve
from ocitool.store.directory.layout import Layout

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TIME: Final = 16  # hexadecimal digits of nanoseconds since the epoch
#: linux/time.h: the clock that file times are taken from, never ahead of them as time() may be.
_CLOCK_REALTIME_COARSE: Final = 5
_CLOCK_MONOTONIC_COARSE: Final = 6


class Lease:
    """A directory for the unfinished work of one process, locked while the process is alive.

    A process that can take the lock of a lease's directory knows that its owner has ended, and
    removes it.  ``began`` is in seconds since the epoch: all that the process stores or claims is
    younger.
    """

    def __init__(self, layout: Layout) -> None:

        def make() -> str:
            path = f"{layout.tmp}/{_now():0{_TIME}x}{os.urandom(4).hex()}"
            os.mkdir(path, 0o700)
            return path

        with full_disk(layout.root):
            self.path, self._fd = make_locked(make)
        self.name = os.path.basename(self.path)
        self.began = _began(self.name) / 1e9
        keep_reserve(layout.reserve)

    def file(self) -> str:
        """Return a new name for a temporary file."""
        return f"{self.path}/{os.urandom(8).hex()}"

    def key(self) -> str:
        """Return a new key for a snapshot of a driver."""
        return f"{self.name}-{os.urandom(4).hex()}"

    def close(self) -> None:
        """End the lease and remove its directory."""
        remove_tree(self.path)
        os.close(self._fd)


def is_alive(layout: Layout, name: str) -> bool:
    """Say whether the process of the lease *name* is alive."""
    return is_locked(f"{layout.tmp}/{name}")


def lease_of(key: str) -> str:
    """Return the name of the lease that the snapshot *key* belongs to."""
    return key.partition("-")[0]


def remove_dead(directory: str) -> None:
    """Remove the directories in *directory* that no process has locked."""
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        try:
            fd = os.open(path, _DIRECTORY)
        except FileNotFoundError:
            continue
        except NotADirectoryError:  # not made by us
            os.unlink(path)
            continue
        try:
            if try_lock(fd):  # held until it is removed: its maker sees that it was too slow
                remove_tree(path)
        finally:
            os.close(fd)


def oldest_lease(layout: Layout) -> int:
    """Return when the oldest lease began, in nanoseconds since the epoch; without leases, now.

    What was stored or claimed after that may belong to unfinished work.
    """
    now = _now()
    began = [_began(name) for name in os.listdir(layout.tmp)]
    if any(time > now for time in began):
        return 0  # the clock was set back: what is young is unknown
    return min([now, *began])


def wait_for_tick() -> None:
    """Wait a few milliseconds, until the clock of file times is ahead of all that was written."""
    now = time.monotonic_ns()
    while time.clock_gettime_ns(_CLOCK_MONOTONIC_COARSE) <= now:  # the same ticks
        time.sleep(0.001)


def _now() -> int:
    return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)


def _began(name: str) -> int:
    try:
        return int(name[:_TIME], 16)
    except ValueError:
        return 0  # not made by us: nothing may be removed
