"""Stores of others below one's own: read, and never changed.

Nothing is written there: no lock, no lease, no database file, and where the kernel lets us no time
of access.  Their owner may prune them; what is gone then is fetched or unpacked again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from ocitool.errors import StoreError
from ocitool.layer.beneath import read_quietly
from ocitool.store.layout import Layout, boot_id
from ocitool.store.refs import Refs


class SharedStore:
    """One of them.

    Raises:
        StoreError: *root* is no store that this user may read.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._layout = Layout(root, make=False)
        self.blobs = self._layout.blobs
        self.refs = Refs(self._layout)
        self._layers: dict[str, frozenset[str]] = {}  # by driver

    def layer(self, driver: str, chain: str) -> str:
        """Return the directory of an unpacked layer that can be used as it is, ``""`` if none.

        Whose store it is decides what container ids are on disk, and how overlay marks what is
        removed: only the same user's layers will do.
        """
        place = f"{self._layout.drivers}/{driver}/layers/{chain}"
        if os.stat(self.root).st_uid != os.geteuid() or not os.path.isdir(place):
            return ""
        if driver not in self._layers:
            self._layers[driver] = self._believed(driver)
        return place if chain in self._layers[driver] else ""

    def _believed(self, driver: str) -> frozenset[str]:
        """Return the layers that their rows say are whole; none if the rows cannot be read.

        The database is read into memory: to open it where it lies would make files beside it.  A
        row that is not yet in its main file only means that a layer is unpacked once more.
        """
        try:
            data = bytearray(read_quietly(self._layout.database))
            data[18:20] = b"\1\1"  # no write-ahead log, as SQLite's file format has it
            connection = sqlite3.connect(":memory:")
        except OSError:
            return frozenset()
        try:
            connection.deserialize(bytes(data))
            rows = connection.execute("SELECT chain, boot FROM layers WHERE driver = ?", (driver,))
            now = boot_id()
            return frozenset(chain for chain, boot in rows if boot in ("", now))
        except (sqlite3.Error, AttributeError):  # a SQLite without deserialize(), which is rare
            return frozenset()
        finally:
            connection.close()


def open_shared(roots: Sequence[str], mine: str) -> tuple[SharedStore, ...]:
    """Open the shared stores *roots*; *mine* is one's own, which may not be among them."""
    for root in roots:
        if os.path.realpath(root) == os.path.realpath(mine):
            raise StoreError("is the store itself, so it cannot be shared below it", where=root)
    return tuple(SharedStore(root) for root in roots)
