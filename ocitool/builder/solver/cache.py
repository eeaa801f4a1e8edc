"""The build cache: what a step with the same inputs has made before.

A key is the digest of a step's inputs, framed and typed by JSON: no two different lists of inputs
have the same text.  It names the tree that a step stands on by its chain id, never by how that
came about, so a base that was rebuilt with equal content still hits.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Protocol

from ocitool.errors import StoreError
from ocitool.store.build_cache import StepRecord
from ocitool.store.layer_content import Layer, chain_ids
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
        record = self._store.build_cache.step(key)
        if record is None:
            return None
        if record.layer is not None and not self._store.blobs.claim(record.layer.blob):
            return None
        with contextlib.suppress(StoreError):  # on a full disk only the order of pruning suffers
            self._store.build_cache.touch(key)
        return Record(layer=record.layer, created=record.created)

    def put(self, key: str, record: Record, below: tuple[Layer, ...]) -> None:
        layer, created = record.layer, record.created
        chain_id = chain_ids([*below, layer])[-1] if layer is not None else ""
        self._store.build_cache.put_step(
            key, StepRecord(layer=layer, created=created, chain_id=chain_id)
        )


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
