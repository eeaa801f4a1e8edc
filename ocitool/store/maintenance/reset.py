"""Removing a store as a whole, also one that is corrupt, and files of subordinate IDs."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from ocitool.errors import OcitoolError, StoreError, StoreLocked
from ocitool.layer.locks import is_locked
from ocitool.settings import Settings
from ocitool.store.directory.layout import Layout
from ocitool.store.drivers import drivers_of, open_driver
from ocitool.store.maintenance.check.mounts import foreign_mounts
from ocitool.store.maintenance.stale_work import unmount

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver


def reset(settings: Settings) -> None:
    """Remove the store in ``settings.root`` with everything in it.

    The directory itself stays if it cannot be removed, as a mount point.  What says that it is a
    store is removed last, so that this can be repeated if it was interrupted.

    Raises:
        StoreError: the directory is not a store, belongs to another user, has a file system mounted
            in it, or cannot be removed.
        StoreLocked: another process uses it.
    """
    if not os.path.isdir(settings.root) or not os.listdir(settings.root):
        raise StoreError("there is no store", where=settings.root)
    # Makes a store again of what `rm -rf` has left of one, and refuses all else.
    layout = Layout(settings.root, trusted_owner=settings.trusted_owner)
    _require_unused(layout)
    if mounted := foreign_mounts(layout):  # whose files are perhaps no part of the store
        raise StoreError(
            f"a file system is mounted in the store: {mounted[0]}",
            where=layout.root,
            hint=f"run `umount {mounted[0]}`, then repeat the command",
        )
    with contextlib.suppress(OcitoolError):  # what is corrupt is removed as plain files
        _remove_layers(layout)
    from ocitool.drivers import trash

    names = sorted(os.listdir(layout.root), key=lambda name: name == "format")
    try:
        for name in names:
            trash.remove(f"{layout.root}/{name}")
    except OSError as error:
        raise StoreError(
            f"cannot remove the store: {error.strerror}",
            where=error.filename or layout.root,
            hint="if a file system is mounted there, unmount it; then repeat the command",
        ) from error
    try:
        os.rmdir(layout.root)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreError(
                f"cannot remove the directory: {error.strerror}", where=layout.root
            ) from error


def _require_unused(layout: Layout) -> None:
    for directory in (layout.tmp, layout.containers):
        with contextlib.suppress(FileNotFoundError):
            if any(is_locked(f"{directory}/{name}") for name in os.listdir(directory)):
                raise StoreLocked(
                    "the store is in use by another process",
                    where=layout.root,
                    hint="stop the containers, builds and registry servers that use it",
                )


def _remove_layers(layout: Layout) -> None:
    """Have the drivers remove what they have: subvolumes and mounts are not plain files."""
    from ocitool.drivers import select

    def make(name: str) -> Driver:
        return select.make(name, f"{layout.drivers}/{name}")

    for name in drivers_of(layout):
        with open_driver(make, name) as driver:
            if driver is not None:
                for key in list(driver.trees()):
                    driver.discard(key)
                for layer in list(driver.layers()):
                    driver.remove(layer)
        unmount(f"{layout.drivers}/{name}/mounts")
