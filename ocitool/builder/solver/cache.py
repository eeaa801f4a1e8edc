"""The build cache: what a step with the same key has made before; see `solver.keys`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Protocol

from ocitool.builder.solver.keys import chain
from ocitool.errors import StoreError
from ocitool.store.database.build_cache import StepRecord
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store


def step_record(layer: Layer, created: str, parents: Sequence[Layer]) -> StepRecord:
    """Return the record of a step that has made *layer* on *parents*, at the time *created*."""
    chain_id = chain([*parents, layer])
    return StepRecord(layer=layer, created=created, chain_id=chain_id, made=time.time())


class Cache(Protocol):
    """Keeps records by key; may forget any of them at any time."""

    def get(self, key: str) -> StepRecord | None:
        """Return the record of *key* if the blob of its layer is in the store."""

    def put(self, key: str, record: StepRecord) -> None:
        """Keep *record*."""


class LocalCache:
    """The cache in a store, of which records older than *ttl* seconds are not used."""

    def __init__(self, store: Store, *, ttl: float | None = None) -> None:
        self._store = store
        self._oldest = 0.0 if ttl is None else time.time() - ttl

    def get(self, key: str) -> StepRecord | None:
        record = self._store.build_cache.step(key)
        if (
            record is None
            or record.made < self._oldest
            or not self._store.blobs.claim(record.layer.blob)
        ):
            return None
        with contextlib.suppress(StoreError):  # on a full disk only the order of pruning suffers
            self._store.build_cache.touch(key)
        return record

    def put(self, key: str, record: StepRecord) -> None:
        self._store.build_cache.put_step(key, record)


class NoCache:
    """A cache that is empty at first, and keeps what is made for later builds: ``--no-cache``."""

    def __init__(self, behind: Cache) -> None:
        self._behind = behind
        self._fresh: set[str] = set()

    def get(self, key: str) -> StepRecord | None:
        # The same step twice in one build is still executed once.
        return self._behind.get(key) if key in self._fresh else None

    def put(self, key: str, record: StepRecord) -> None:
        self._fresh.add(key)
        self._behind.put(key, record)
