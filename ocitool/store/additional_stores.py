"""Shared stores, read beside one's own and never changed (podman: additional image stores).

Nothing is written there: no lock, no lease, no database file and, where the kernel allows it, no
access time.  Their owner may prune them: what is missing then is fetched or unpacked again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ocitool.errors import StoreError
from ocitool.layer.fileio import read_noatime
from ocitool.store.database.records import layers_of_file
from ocitool.store.directory.layout import Layout, boot_id
from ocitool.store.refs import Refs


class SharedStore:
    """One shared store.

    Raises:
        StoreError: *root* is not a store, or this user may not read it.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._layout = Layout(root, make=False)
        self.blobs = self._layout.blobs
        self.refs = Refs(self._layout)
        self._layers: dict[str, frozenset[str]] = {}  # by driver

    def layer(self, driver: str, chain: str) -> str:
        """Return the directory of an unpacked layer that can be used from here, ``""`` if none.

        Only layers of the same user can be used: the IDs on disk and the form of whiteouts depend
        on the user.
        """
        path = f"{self._layout.drivers}/{driver}/layers/{chain}"
        if os.stat(self.root).st_uid != os.geteuid() or not os.path.isdir(path):
            return ""
        if driver not in self._layers:
            self._layers[driver] = self._complete(driver)
        return path if chain in self._layers[driver] else ""

    def _complete(self, driver: str) -> frozenset[str]:
        """Return the layers that their rows say are complete; none if the rows cannot be read.

        A row that is not yet in the database's main file only means that a layer is unpacked once
        more.
        """
        try:
            data = read_noatime(self._layout.database)
        except OSError:
            return frozenset()
        boots = ("", boot_id())
        layers = layers_of_file(data, driver)
        return frozenset(layer.chain_id for layer in layers if layer.boot in boots)


def open_shared(roots: Sequence[str], mine: str) -> tuple[SharedStore, ...]:
    """Open the shared stores *roots*; *mine*, the store itself, must not be among them."""
    for root in roots:
        if os.path.realpath(root) == os.path.realpath(mine):
            raise StoreError("shared store must not be the store itself", where=root)
    return tuple(SharedStore(root) for root in roots)
