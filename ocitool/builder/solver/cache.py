"""The build cache: what a step with the same key has made before; see `solver.keys`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Protocol

from ocitool.errors import StoreError
from ocitool.store.build_cache import StepRecord
from ocitool.store.layer_content import Layer, chain_ids
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
        record = self._store.build_cache.step(key)
        if record is None:
            return None
        if record.layer is not None and not self._store.blobs.claim(record.layer.blob):
            return None
        with contextlib.suppress(StoreError):  # on a full disk only the order of pruning suffers
            self._store.build_cache.touch(key)
        return Record(layer=record.layer, created=record.created)

    def put(self, key: str, record: Record, parents: tuple[Layer, ...]) -> None:
        layer, created = record.layer, record.created
        chain_id = chain_ids([*parents, layer])[-1] if layer is not None else ""
        self._store.build_cache.put_step(
            key, StepRecord(layer=layer, created=created, chain_id=chain_id)
        )


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
