"""Which stores hold the content of a registry server: nothing but the server may remove from them.

A manifest that was pushed by its digest has no name, and a blob that a client has just pushed has
no manifest yet: to a collection both look unreferenced, and clients were told that they are kept.
"""

from __future__ import annotations

import os
from typing import Final

from ocitool.errors import StoreError
from ocitool.store.atomic import write_file
from ocitool.store.disk import full_disk
from ocitool.store.store import Store

_MARKER: Final = b"The content of a registry server: see `ocitool registry serve --help`.\n"


def mark_served(store: Store) -> None:
    """Note for good, before anything can be pushed, that *store* belongs to a registry server.

    A collection that runs now is waited for: those that come later see the marker.
    """
    if not os.path.exists(store.layout.served):
        with store.layout.lock("prune"), full_disk(store.layout.root):
            write_file(store.layout.served, _MARKER)


def is_served(store: Store) -> bool:
    """Say whether a registry server keeps, or has kept, its content in *store*.

    Servers from before the marker noted in the database which repositories there are, in rows that
    nobody else writes.

    Raises:
        StoreError: there is no marker, and the database cannot be read.
    """
    if os.path.exists(store.layout.served):
        return True
    return store.blob_records.has_served()


def require_not_served(store: Store, what: str) -> None:
    """Refuse *what* (``prune``) for a store that a registry server keeps its content in."""
    if is_served(store):
        raise StoreError(
            f"the store holds the content of a registry server, so {what} is refused: it would "
            "remove manifests and blobs that clients have pushed",
            where=store.layout.root,
            hint="delete through the registry: DELETE /v2/NAME/manifests/TAG or .../DIGEST; or "
            "remove the whole directory while no server uses it",
        )
