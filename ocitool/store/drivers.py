"""The drivers that have layers in a store, also those that are not in use now."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ocitool.errors import DriverUnavailable, PluginError
from ocitool.store.directory.layout import Layout

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver

MakeDriver = Callable[[str], "Driver"]


def drivers_of(layout: Layout, *, hidden: bool = False) -> list[str]:
    """Return the names of the drivers that have a directory in the store.

    With *hidden* those whose directory this user may not read, otherwise all others.
    """
    with os.scandir(layout.drivers) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    return [name for name in names if is_hidden(layout, name) == hidden]


def is_hidden(layout: Layout, name: str) -> bool:
    """Say whether this user may not read the directory of a driver, in another user's store."""
    home = f"{layout.drivers}/{name}"
    return not os.access(home, os.R_OK | os.X_OK, effective_ids=True) and os.path.isdir(home)


@contextlib.contextmanager
def open_driver(make: MakeDriver, name: str) -> Iterator[Driver | None]:
    """Make a driver, and close it at the end; None if it is not available."""
    try:
        driver = make(name)
    except (DriverUnavailable, PluginError):
        yield None
        return
    try:
        yield driver
    finally:
        driver.close()
