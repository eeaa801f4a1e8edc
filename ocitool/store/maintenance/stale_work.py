"""Removing the unfinished work of processes that have ended.  Committed layers are kept."""

from __future__ import annotations

from ocitool import plugins
from ocitool.layer.fileio import names_in
from ocitool.layer.locks import is_locked
from ocitool.store import run_mounts
from ocitool.store.directory.atomic import remove_dead_files
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.directory.layout import Layout
from ocitool.store.directory.leases import is_alive, lease_of, remove_dead
from ocitool.store.drivers import MakeDriver, drivers_of, open_driver


def sweep(layout: Layout, make: MakeDriver) -> None:
    """Remove the snapshots, mounts, containers, locks and temporary files of dead processes.

    A snapshot is dead if the directory of its lease is missing or not locked.  So those of a driver
    that is not available now are removed when it is available again.
    """
    with full_disk(layout.root):
        for name in drivers_of(layout):
            _discard(make, name, _dead_snapshots(layout, make, name))
            unmount(f"{layout.drivers}/{name}/mounts")
        for form in run_mounts.forms(layout):
            dead = run_mounts.dead_copies(layout, form)
            _discard(lambda name: run_mounts.make(layout, name), form, dead)
        remove_dead(layout.tmp)
        if not all(
            is_locked(f"{layout.containers}/{name}") for name in names_in(layout.containers)
        ):
            with layout.lock("containers"):  # a container that is being created has no lock yet
                remove_dead(layout.containers)
        for directory in (layout.root, layout.oci, layout.indexes, layout.drivers):
            remove_dead_files(directory)
        remove_dead_files(layout.locks, bool)


def unmount(mounts: str) -> None:
    """Unmount the images that killed processes have left mounted; the others are in use."""
    if names_in(mounts):
        from ocitool_runtime.sandbox.rootfs.image_mounts import sweep as sweep_mounts

        sweep_mounts(mounts)


def _dead_snapshots(layout: Layout, make: MakeDriver, name: str) -> list[str]:
    if name in plugins.BUILT_IN["ocitool.drivers"]:
        keys = names_in(f"{layout.drivers}/{name}/trees")  # an import takes 30 ms
    else:
        with open_driver(make, name) as driver:
            keys = list(driver.trees()) if driver is not None else []
    return [key for key in keys if not is_alive(layout, lease_of(key))]


def _discard(make: MakeDriver, name: str, keys: list[str]) -> None:
    if keys:
        with open_driver(make, name) as driver:
            if driver is not None:
                for key in keys:
                    driver.discard(key)


def empty_trash(layout: Layout, *, background: bool) -> None:
    """Empty the trash: at once, or if it is large in a process that outlives this one."""
    homes = [f"{layout.drivers}/{name}" for name in drivers_of(layout)]
    homes += [run_mounts.home(layout, form) for form in run_mounts.forms(layout)]
    paths = [layout.trash, *(f"{home}/trash" for home in homes)]
    full = [path for path in paths if names_in(path)]
    if not full:
        return
    from ocitool.drivers import trash

    with full_disk(layout.root):
        large = [path for path in full if background and not trash.is_small(path)]
        for path in full:
            if path not in large:
                trash.empty(path)
        if large:
            trash.start(large)
