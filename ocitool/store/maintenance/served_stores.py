"""Stores of registry servers: only the server may remove content from them.

A manifest that was pushed by its digest has no name, and a blob that a client has just pushed has
no manifest yet.  To a garbage collection both are unreferenced, but the server has promised its
clients to keep them.
"""

from __future__ import annotations

import os
from typing import Final

from ocitool.errors import StoreError
from ocitool.store.directory.atomic import write_file
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.store import Store

_MARKER: Final = b"The content of a registry server: see `ocitool registry serve --help`.\n"


def mark_served(store: Store) -> None:
    """Mark *store* as that of a registry server, before anything can be pushed.

    This waits for a garbage collection that is running; later ones see the marker.
    """
    if not os.path.exists(store.layout.served):
        with store.layout.lock("prune"), full_disk(store.layout.root):
            write_file(store.layout.served, _MARKER)


def is_served(store: Store) -> bool:
    """Say whether a registry server keeps, or has kept, its content in *store*.

    Servers of versions without the marker are recognized by their rows in the database.

    Raises:
        StoreError: there is no marker, and the database cannot be read.
    """
    if os.path.exists(store.layout.served):
        return True
    return store.blob_records.has_served()


def require_not_served(store: Store, what: str) -> None:
    """Refuse *what* (``prune``) for the store of a registry server; `StoreError`."""
    if is_served(store):
        raise StoreError(
            f"the store holds the content of a registry server, so {what} is refused: it would "
            "remove manifests and blobs that clients have pushed",
            where=store.layout.root,
            hint="delete through the registry: DELETE /v2/NAME/manifests/TAG or .../DIGEST; or "
            "run `ocitool system reset` while no server uses it",
        )
