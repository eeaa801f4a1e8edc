"""Stores of others below one's own: read, and never changed.

Nothing is written there: no lock, no lease, no database file, and where the kernel lets us no time
of access.  Their owner may prune them; what is gone then is fetched or unpacked again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ocitool.errors import StoreError
from ocitool.layer.beneath import read_quietly
from ocitool.store.layout import Layout, boot_id
from ocitool.store.records import layers_of_file
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
        path = f"{self._layout.drivers}/{driver}/layers/{chain}"
        if os.stat(self.root).st_uid != os.geteuid() or not os.path.isdir(path):
            return ""
        if driver not in self._layers:
            self._layers[driver] = self._believed(driver)
        return path if chain in self._layers[driver] else ""

    def _believed(self, driver: str) -> frozenset[str]:
        """Return the layers that their rows say are complete; none if the rows cannot be read.

        A row that is not yet in the database's main file only means that a layer is unpacked once
        more.
        """
        try:
            data = read_quietly(self._layout.database)
        except OSError:
            return frozenset()
        boots = ("", boot_id())
        layers = layers_of_file(data, driver)
        return frozenset(layer.chain_id for layer in layers if layer.boot in boots)


def open_shared(roots: Sequence[str], mine: str) -> tuple[SharedStore, ...]:
    """Open the shared stores *roots*; *mine* is one's own, which may not be among them."""
    for root in roots:
        if os.path.realpath(root) == os.path.realpath(mine):
            raise StoreError("is the store itself, so it cannot be shared below it", where=root)
    return tuple(SharedStore(root) for root in roots)
