"""Removing the unfinished work of processes that have ended, and finding the mounts they left.

Committed layers stay.  Source: proc_pid_mountinfo(5).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ocitool import plugins
from ocitool.errors import DriverUnavailable, PluginError
from ocitool.store.atomic import is_locked, remove_dead_files
from ocitool.store.disk import full_disk
from ocitool.store.layout import Layout
from ocitool.store.leases import is_alive, lease_of, remove_dead
from ocitool.store.problems import Problem
from ocitool_runtime.sandbox.rootfs.shared_mounts import is_orphaned

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver


MakeDriver = Callable[[str], "Driver"]


def sweep(layout: Layout, make: MakeDriver) -> None:
    """Remove the trees, mounts, containers, locks and temporary files of dead processes.

    A tree whose lease has no directory any more is as dead as one whose lease has lost its lock,
    so the trees of a driver that cannot be had today go on the day it can.
    """
    with full_disk(layout.root):
        for name in drivers_of(layout):
            if name in plugins.BUILT_IN["ocitool.drivers"]:
                keys = _names(f"{layout.drivers}/{name}/trees")  # 30 ms sooner than its import
            else:
                with made(make, name) as driver:
                    keys = list(driver.trees()) if driver is not None else []
            dead = [key for key in keys if not is_alive(layout, lease_of(key))]
            if dead:
                with made(make, name) as driver:
                    if driver is not None:
                        _discard(driver, dead)
            _take_off(f"{layout.drivers}/{name}/mounts")
        remove_dead(layout.tmp)
        if not all(is_locked(f"{layout.containers}/{name}") for name in _names(layout.containers)):
            with layout.lock("containers"):  # one that is being made has no lock of its own yet
                remove_dead(layout.containers)
        for directory in (layout.root, layout.oci, layout.indexes, layout.drivers):
            remove_dead_files(directory)
        remove_dead_files(layout.locks, bool)


def _take_off(mounts: str) -> None:
    """Unmount the images that killed processes have left shown; others are in use."""
    if _names(mounts):
        from ocitool_runtime.sandbox.rootfs.shared_mounts import sweep as sweep_mounts

        sweep_mounts(mounts)


def _discard(driver: Driver, keys: list[str]) -> None:
    for key in keys:
        driver.discard(key)


def take_out_trash(layout: Layout, *, background: bool) -> None:
    """Remove for good what was taken out of use: here, or after this process has ended."""
    places = [layout.trash, *(f"{layout.drivers}/{name}/trash" for name in drivers_of(layout))]
    full = [place for place in places if _names(place)]
    if not full:
        return
    from ocitool.drivers import trash

    with full_disk(layout.root):
        large = [place for place in full if background and not trash.is_small(place)]
        for place in full:
            if place not in large:
                trash.empty(place)
        if large:
            trash.start(large)


def drivers_of(layout: Layout, *, hidden: bool = False) -> list[str]:
    """Return the names of the drivers that have ever kept something here.

    With *hidden* those whose directory only another user may look into, else all others.
    """
    with os.scandir(layout.drivers) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    return [name for name in names if is_hidden(layout, name) == hidden]


def is_hidden(layout: Layout, name: str) -> bool:
    """Say whether this user may not look at the layers of a driver, in a store of another."""
    home = f"{layout.drivers}/{name}"
    return not os.access(home, os.R_OK | os.X_OK, effective_ids=True) and os.path.isdir(home)


@contextlib.contextmanager
def made(make: MakeDriver, name: str) -> Iterator[Driver | None]:
    """Make a driver for a while; None where it is not to be had."""
    try:
        driver = make(name)
    except (DriverUnavailable, PluginError):
        yield None
        return
    try:
        yield driver
    finally:
        driver.close()


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def leaked_mounts(layout: Layout) -> Iterator[Problem]:
    """Yield the mounts of this namespace that no living process of ours has below *layout*.

    What the machine's owner may have mounted there (the store itself, its blobs) is none.
    """
    root = os.path.realpath(layout.root)
    with open("/proc/self/mountinfo", "rb") as file:
        places = [_unescaped(line.split(b" ")[4]) for line in file]
    for place in places:
        parts = place.removeprefix(f"{root}/").split("/") if place.startswith(f"{root}/") else []
        if _is_work(parts) and not _lives(layout, parts):
            yield Problem(
                what=f"{place} is a mount that was left behind", remedy=f"run `umount {place}`"
            )


def _is_work(parts: list[str]) -> bool:
    """Say whether *parts* of a path lie where only ocitool makes directories."""
    return len(parts) > 1 and (
        parts[0] in ("tmp", "containers") or (parts[0] == "drivers" and len(parts) > 3)
    )


def _lives(layout: Layout, parts: list[str]) -> bool:
    if parts[0] == "drivers" and parts[2] == "trees":
        return is_alive(layout, lease_of(parts[3]))
    if parts[0] == "drivers" and parts[2] == "mounts":
        return not is_orphaned(f"{layout.root}/{'/'.join(parts[:4])}")
    return parts[0] == "tmp" and is_alive(layout, parts[1])


def _unescaped(place: bytes) -> str:
    plain = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), place)
    return os.fsdecode(plain)
