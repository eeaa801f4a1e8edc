"""The build cache: what a step with the same key has made before; see `solver.keys`."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any, Protocol

from ocitool.errors import StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.store.layer_content import Layer, layer_names
from ocitool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The layer that a step made, None if it changed nothing; and when."""

    layer: Layer | None
    created: str  # RFC 3339


class Cache(Protocol):
    """Remembers records by key; may forget any of them at any time."""

    def get(self, key: str) -> Record | None:
        """Return the record of *key* if its layer is at hand."""

    def put(self, key: str, record: Record, parents: tuple[Layer, ...]) -> None:
        """Remember *record*, whose layer stands on *parents*."""


class LocalCache:
    """The cache in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> Record | None:
        rows = self._store.database.rows("SELECT record FROM cache WHERE key = ?", (key,))
        if not rows:
            return None
        fields = json.loads(rows[0][0])
        layer = _layer(fields)
        if layer is not None and not self._store.blobs.claim(layer.blob):
            return None
        with contextlib.suppress(StoreError):  # on a full disk only the order of removal suffers
            self._store.database.run("UPDATE cache SET used = ? WHERE key = ?", (time.time(), key))
        return Record(layer=layer, created=fields["created"])

    def put(self, key: str, record: Record, parents: tuple[Layer, ...]) -> None:
        fields: dict[str, Any] = {"created": record.created}
        if record.layer is not None:
            layer = record.layer
            fields |= {
                "blob": str(layer.blob.digest),
                "size": layer.blob.size,
                "media_type": layer.blob.media_type,
                "diff_id": str(layer.diff_id),
                "name": layer_names([*parents, layer])[-1],
            }
        self._store.database.run(
            "INSERT OR REPLACE INTO cache VALUES (?, ?, ?)", (key, json.dumps(fields), time.time())
        )


def _layer(fields: dict[str, Any]) -> Layer | None:
    if "blob" not in fields:
        return None
    blob = Descriptor(
        media_type=fields["media_type"], digest=Digest.parse(fields["blob"]), size=fields["size"]
    )
    return Layer(diff_id=Digest.parse(fields["diff_id"]), blob=blob)


class NoCache:
    """A cache that is empty at first, and keeps what is made for later builds: ``--no-cache``."""

    def __init__(self, behind: Cache) -> None:
        self._behind = behind
        self._fresh: set[str] = set()

    def get(self, key: str) -> Record | None:
        # The same step twice in one build is still executed once.
        return self._behind.get(key) if key in self._fresh else None

    def put(self, key: str, record: Record, parents: tuple[Layer, ...]) -> None:
        self._fresh.add(key)
        self._behind.put(key, record, parents)
