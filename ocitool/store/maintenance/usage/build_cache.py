"""Disk usage of the build cache, and removing its least recently used records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ocitool.oci.digest import Digest
from ocitool.store.database.build_cache import CacheUse
from ocitool.store.maintenance.mark import Marks, mark
from ocitool.store.maintenance.usage.sizes import Space, measure
from ocitool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecord:
    """A record of one build step.  ``blob`` is None if the step changed nothing."""

    key: str
    used: float  # seconds since the epoch
    blob: Digest | None
    layer: str  # chain ID of its unpacked layer, "" if none
    blob_size: int  # bytes; 0 if an image has it, too
    layer_size: int  # bytes of the unpacked layer; 0 if an image has it, too
    shared: bool  # whether an image has its layer

    @property
    def size(self) -> int:
        """Bytes that no image uses."""
        return self.blob_size + self.layer_size


def cache_records(store: Store, kept: Marks, space: Space) -> list[CacheRecord]:
    """Return the records, the most recently used first; *kept* is what is in use without them."""
    return [_record(use, kept, space) for use in store.build_cache.uses()]


def _record(use: CacheUse, kept: Marks, space: Space) -> CacheRecord:
    blob = use.layer.blob.digest if use.layer is not None else None
    layer = use.chain_id
    return CacheRecord(
        key=use.key,
        used=use.used,
        blob=blob,
        layer=layer,
        blob_size=space.blobs.get(blob, 0) if blob and blob not in kept.blobs else 0,
        layer_size=0 if layer in kept.layers else space.layer(layer),
        shared=blob in kept.blobs,
    )


def cache_size(store: Store) -> int:
    """Return the bytes that the records take together and no image uses."""
    return size_of(cache_records(store, mark(store, cache=False), measure(store)))


def prune_records(store: Store, *, until: int | None = None, space: int | None = None) -> int:
    """Remove records; returns how many.  Their content is left to the garbage collection.

    *until* (nanoseconds since the epoch) removes those last used before it.  *space* is the limit
    in bytes for the others: the least recently used are removed until it is met.  Without either,
    all are removed.
    """
    cache = store.build_cache
    before = cache.count()
    if until is None and space is None:
        cache.clear()
    if until is not None:
        cache.remove_unused_since(until / 1e9)
    if space is not None:
        kept = mark(store, cache=False)
        records = cache_records(store, kept, measure(store))
        gone = records[_fitting(records, space) :]
        cache.remove([record.key for record in gone])
    return before - cache.count()


def _fitting(records: Sequence[CacheRecord], space: int) -> int:
    """Return how many of *records*, from the first on, take at most *space* bytes together."""
    for at, total in enumerate(_running_total(records)):
        if total > space:
            return at
    return len(records)


def size_of(records: Sequence[CacheRecord]) -> int:
    """Return the bytes that *records* take together; what they share is counted once."""
    return max(_running_total(records), default=0)


def _running_total(records: Sequence[CacheRecord]) -> Iterator[int]:
    seen: set[Digest | str | None] = set()
    total = 0
    for record in records:
        for what, size in ((record.blob, record.blob_size), (record.layer, record.layer_size)):
            total += 0 if what in seen else size
            seen.add(what)
        yield total
