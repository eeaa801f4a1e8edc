"""Disk usage, and how much of it can be reclaimed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from ocitool.oci.digest import Digest
from ocitool.store.maintenance.mark import Marks, container_layers, mark, mark_image
from ocitool.store.maintenance.served_stores import is_served
from ocitool.store.maintenance.usage.build_cache import CacheRecord, cache_records
from ocitool.store.maintenance.usage.cache_mounts import cache_mounts
from ocitool.store.maintenance.usage.sizes import Space, measure
from ocitool.store.refs import name_of
from ocitool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of content.  Shared blobs are counted once, for the first kind that has them."""

    kind: str
    total: int
    active: int
    size: int  # bytes
    reclaimable: int  # bytes that `system prune` frees; 0 where it is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUsage:
    """One image name, with the bytes of its blobs that other images share, and of the others."""

    name: str
    digest: str
    shared: int
    unique: int
    containers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The whole usage; the sizes of ``rows`` add up to that of the store."""

    rows: tuple[Row, ...]
    images: tuple[ImageUsage, ...]
    cache: tuple[CacheRecord, ...]  # the most recently used first


def usage(store: Store) -> Usage:
    """Measure the store."""
    space = measure(store)
    records = cache_records(store, mark(store, cache=False), space)
    rows, images = _rows(store, space, len(records)), _images(store, space)
    return Usage(rows=rows, images=images, cache=tuple(records))


def _of_blobs(space: Space, digests: set[Digest]) -> int:
    return sum(space.blobs.get(digest, 0) for digest in digests)


def _rows(store: Store, space: Space, cached: int) -> tuple[Row, ...]:
    """Return the rows of all kinds; *cached* is how many records the build cache has."""
    everything, kept = Marks(), mark(store, cache=False, dangling=False)
    named = set()
    ids = store.summaries.ids()
    for entry in store.refs.all():
        mark_image(store, entry, everything)
        if name_of(entry):
            named.add(ids.get(str(entry.digest), ""))
    mounts = cache_mounts(store)
    # Of the build cache, or of nothing.
    others = _of_blobs(space, set(space.blobs) - everything.blobs)
    known = {digest.encoded for digest in kept.diffs}
    unused = {at: size for at, size in space.layers.items() if at.chain_id not in kept.layers}
    rows: tuple[Row, ...] = (
        Row(
            kind="Images",
            total=store.summaries.count(store.refs),
            active=len(named),
            size=_of_blobs(space, everything.blobs),
            reclaimable=_of_blobs(space, everything.blobs - kept.blobs),
        ),
        Row(
            kind="Unpacked layers",
            total=len(space.layers),
            active=len(space.layers) - len(unused),
            size=sum(space.layers.values()),
            reclaimable=sum(unused.values()),
        ),
        Row(
            kind="Layer indexes",
            total=len(space.indexes),
            active=len(space.indexes.keys() & known),
            size=sum(space.indexes.values()),
            reclaimable=sum(size for key, size in space.indexes.items() if key not in known),
        ),
        Row(kind="Build cache", total=cached, active=0, size=others, reclaimable=others),
        Row(
            kind="Cache mounts",
            total=len(mounts),
            active=sum(use.in_use for use in mounts),
            size=sum(use.size for use in mounts),
            reclaimable=sum(use.size for use in mounts if not use.in_use),
        ),
    )
    if is_served(store):
        rows = tuple(replace(row, reclaimable=0) for row in rows)
    return rows


def _images(store: Store, space: Space) -> tuple[ImageUsage, ...]:
    images: dict[Digest, Marks] = {}
    entries = list(store.refs.all())
    for entry in entries:
        mark_image(store, entry, images.setdefault(entry.digest, Marks()))
    users = Counter(digest for marks in images.values() for digest in marks.blobs)
    containers = Counter(frozenset(layers) for layers in container_layers(store))
    listed = []
    for entry in reversed(entries):
        marks = images[entry.digest]
        shared = {digest for digest in marks.blobs if users[digest] > 1}
        listed.append(
            ImageUsage(
                name=name_of(entry),
                digest=str(entry.digest),
                shared=_of_blobs(space, shared),
                unique=_of_blobs(space, marks.blobs - shared),
                containers=containers[frozenset(marks.layers)],
            )
        )
    return tuple(listed)
