"""The build cache: what a step with the same inputs has made before.

A key is the digest of a step's inputs, framed and typed by JSON: no two different lists of inputs
have the same text.  It names the tree that a step stands on by its chain id, never by how that
came about, so a base that was rebuilt with equal content still hits.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any, Protocol

from ocitool.errors import StoreError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.store.layer_content import Layer, layer_names
from ocitool.store.store import Store

_VERSION = 1  # of the keys; raised when a step comes to mean something else


def key_of(kind: str, *inputs: Any) -> str:
    """Return the key of a step of *kind* with *inputs*: strings, numbers, flags, None, lists."""
    framed = json.dumps([_VERSION, kind, *inputs], ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(framed.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a step made: a layer, or None if it changed nothing; and when."""

    layer: Layer | None
    created: str  # RFC 3339


class Cache(Protocol):
    """Remembers records by key; may forget any of them at any time."""

    def get(self, key: str) -> Record | None:
        """Return the record of *key* if its layer is at hand."""

    def put(self, key: str, record: Record, below: tuple[Layer, ...]) -> None:
        """Remember *record*, whose layer stands on *below*."""


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
        with contextlib.suppress(StoreError):  # on a full disk only the order of going suffers
            self._store.database.run("UPDATE cache SET used = ? WHERE key = ?", (time.time(), key))
        return Record(layer=layer, created=fields["created"])

    def put(self, key: str, record: Record, below: tuple[Layer, ...]) -> None:
        fields: dict[str, Any] = {"created": record.created}
        if record.layer is not None:
            layer = record.layer
            fields |= {
                "blob": str(layer.blob.digest),
                "size": layer.blob.size,
                "media_type": layer.blob.media_type,
                "diff_id": str(layer.diff_id),
                "name": layer_names([*below, layer])[-1],
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
    """Remembers nothing of before, but keeps what is made now: ``--no-cache``."""

    def __init__(self, behind: Cache) -> None:
        self._behind = behind
        self._fresh: set[str] = set()

    def get(self, key: str) -> Record | None:
        # The same step twice in one build is still done once.
        return self._behind.get(key) if key in self._fresh else None

    def put(self, key: str, record: Record, below: tuple[Layer, ...]) -> None:
        self._fresh.add(key)
        self._behind.put(key, record, below)
