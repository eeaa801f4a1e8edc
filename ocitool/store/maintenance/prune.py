"""Garbage collection: mark from the names, sweep the rest.

What was stored or claimed since the oldest active lease began is kept: it may belong to a pull or a
build that is not finished (`ocitool.store.directory.leases.Lease`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ocitool.errors import OcitoolError
from ocitool.oci.config import ImageConfig
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, parse_any
from ocitool.oci.timestamps import parse_time
from ocitool.store.directory.full_disk import free_reserve, full_disk
from ocitool.store.directory.leases import oldest_lease, wait_for_tick
from ocitool.store.drivers import drivers_of, open_driver
from ocitool.store.maintenance.filters import Filters
from ocitool.store.maintenance.mark import Marks, mark
from ocitool.store.maintenance.served_stores import require_not_served
from ocitool.store.maintenance.usage.build_cache import cache_size, prune_records
from ocitool.store.maintenance.usage.cache_mounts import prune_cache_mounts
from ocitool.store.maintenance.usage.sizes import layer_size
from ocitool.store.refs import name_of
from ocitool.store.store import Store

if TYPE_CHECKING:
    from ocitool.drivers.driver import Driver

EVERYTHING: Final = Filters()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed."""

    untagged: tuple[str, ...] = ()  # names
    images: tuple[Digest, ...] = ()  # ids
    blobs: int = 0
    layers: int = 0
    cache: int = 0
    cache_mounts: int = 0  # directories of RUN --mount=type=cache
    size: int = 0  # bytes of blobs, layers, indexes and cache mounts


def prune(
    store: Store,
    *,
    all_images: bool = False,
    cache: bool = True,
    dangling: bool = True,
    filters: Filters = EVERYTHING,
    cache_space: int | None = None,
) -> Pruned:
    """Remove unreferenced blobs and layers.

    With *dangling*, images without a name are removed first; with *all_images* those with a name,
    too; with *cache* the build cache, or what exceeds *cache_space* bytes of it.  *filters* limit
    all three.

    Raises:
        StoreError: the store holds the content of a registry server (`maintenance.served_stores`).
    """
    free_reserve(store.layout.reserve)
    store.sweep()
    with store.layout.lock("prune"):
        require_not_served(store, "prune")
        cutoff = oldest_lease(store.layout)
        gone = _images_to_go(store, all_images, cutoff, filters) if dangling else ()
        before = dict.fromkeys(id_of(store, entry) for entry in gone)
        store.refs.drop([entry.digest for entry in gone])
        left = set(store.summaries.ids().values())  # by another manifest an image may stay
        ids = tuple(each for each in before if str(each) not in left)
        records, mounts = 0, list[int]()
        if cache and not filters.by_label:
            records = prune_records(store, until=filters.until, space=cache_space)
            space = None if cache_space is None else max(0, cache_space - cache_size(store))
            mounts = prune_cache_mounts(store, until=filters.until, space=space)
        marks = mark(store)
        known = {digest.encoded for digest in marks.diffs}
        layers = _sweep_layers(store, lambda chain: chain not in marks.layers, cutoff, whole=True)
        blobs = _sweep_blobs(store, [d for d in store.blobs.all() if d not in marks.blobs], cutoff)
        indexes = _sweep_indexes(
            store, [name for name in os.listdir(store.layout.indexes) if name not in known], cutoff
        )
        store.blobs.remove_all_quarantined({d for d in marks.blobs if store.blobs.size(d) is None})
    return Pruned(
        untagged=tuple(filter(None, map(name_of, gone))),
        images=ids,
        blobs=len(blobs),
        layers=len(layers),
        cache=records,
        cache_mounts=len(mounts),
        size=sum(blobs) + sum(layers) + sum(indexes) + sum(mounts),
    )


def release(store: Store, mine: Marks) -> None:
    """Remove what is unreferenced of *mine*, the content of an image that was removed.

    Only images that share a blob with it are read.  The content of a registry server is kept
    (`maintenance.served_stores`).
    """
    store.sweep()
    with store.layout.lock("prune"):
        require_not_served(store, "removing content")
        cutoff = oldest_lease(store.layout)
        marks = mark(store, among=frozenset(mine.blobs))
        layers = mine.layers - marks.layers
        _sweep_layers(store, lambda chain: chain in layers, cutoff, whole=False)
        _sweep_blobs(store, mine.blobs - marks.blobs, cutoff)
        _sweep_indexes(store, [d.encoded for d in mine.diffs - marks.diffs], cutoff)


def release_written(store: Store) -> None:
    """Remove what this process has stored and nothing refers to, at the end of a failed command.

    The process's lease ends first, so nothing else may be done with *store* at the same time.  What
    another process stored or claimed since is kept, as in any collection; and a command that still
    runs keeps all that is younger than itself: then a later prune removes it.
    """
    store.end_lease()
    written = store.blobs.written
    if written:
        # Of other blobs the images are not read, so their layers are not known to be in use.
        own = {c for c, layer in store.layers.unpacked.items() if layer.blob.digest in written}
        wait_for_tick()
        release(store, Marks(blobs=set(written), diffs=set(store.layers.indexed), layers=own))


def id_of(store: Store, entry: Descriptor) -> Digest:
    """Return the ID of the image *entry*, or its digest if its manifest is corrupt or missing."""
    try:
        return store.image_id(entry)
    except OcitoolError:
        return entry.digest


def _images_to_go(
    store: Store, all_images: bool, cutoff: int, filters: Filters
) -> tuple[Descriptor, ...]:
    gone = []
    for entry in store.refs.all():
        if name_of(entry) and not all_images:
            continue
        path = store.blobs.path(entry.digest)
        here = os.path.exists(path)
        if (not here or not is_young(path, cutoff)) and _may_go(store, entry, filters):
            gone.append(entry)
    return tuple(gone)


def _may_go(store: Store, entry: Descriptor, filters: Filters) -> bool:
    if not filters:
        return True
    try:
        document = parse_any(store.blobs.read(entry), entry.media_type)
        if isinstance(document, Index):
            return False  # several images have no one time or labels
        config = ImageConfig.parse(store.blobs.read(document.config))
        created = parse_time(config.created) if config.created else None
    except OcitoolError:
        return False  # corrupt: its time and labels are unknown
    return filters.take(created, config.run.labels)


def _sweep_blobs(store: Store, unused: Iterable[Digest], cutoff: int) -> list[int]:
    """Remove blobs; returns the bytes that each freed."""
    sizes = []
    for digest in unused:
        removed = store.blobs.collect(digest, cutoff)
        if removed is None:
            continue
        store.blob_records.remove(digest)
        sizes.append(removed)
    return sizes


def _sweep_layers(
    store: Store, unused: Callable[[str], bool], cutoff: int, *, whole: bool
) -> list[int]:
    """Remove layers, and rows of missing layers; returns the bytes of each.

    In a collection of the *whole* store orphaned layers are removed, too; otherwise the sizes are
    not measured, and are 0.
    """
    sizes = []
    for name in drivers_of(store.layout):
        with open_driver(store.make_driver, name) as driver:
            if driver is None:
                continue
            here = set(driver.layers())
            useless = set(orphans(store, name)) if whole else set()
            for chain in _topmost_first(store, name, here):
                if chain in here and not unused(chain) and chain not in useless:
                    continue
                size = layer_size(driver, chain) if whole and chain in here else 0
                if drop_layer(store, driver, chain, cutoff):
                    sizes.append(size)
    return sizes


def _topmost_first(store: Store, driver: str, here: set[str]) -> list[str]:
    """Return the layers of a driver, each after its children.

    Layers without a row, from a crash between rename and row, come first: no layer with a row has
    them as its parent.
    """
    parents = {each.chain_id: each.parent for each in store.layer_records.of_driver(driver)}
    depths: dict[str, int] = {}
    for chain in parents:
        above = []
        while chain in parents and chain not in depths:
            above.append(chain)
            chain = parents[chain]
        depth = depths.get(chain, 0)
        for number, one in enumerate(reversed(above), start=depth + 1):
            depths[one] = number
    return [*sorted(here - set(parents)), *sorted(parents, key=depths.__getitem__, reverse=True)]


def orphans(store: Store, driver: str) -> list[str]:
    """Return the layers of a driver whose parents are no longer unpacked.

    This happens if the parent was claimed earlier, or if only the build cache used both.  Such
    layers cannot be compared with their tars; they are unpacked again with their parents.
    """
    parents = {each.chain_id: each.parent for each in store.layer_records.of_driver(driver)}
    above: dict[str, list[str]] = {}
    for chain, parent in parents.items():
        above.setdefault(parent, []).append(chain)
    standing = {""}
    todo = [""]
    while todo:
        found = [chain for chain in above.get(todo.pop(), ()) if chain not in standing]
        standing.update(found)
        todo += found
    return sorted(chain for chain in parents if chain not in standing)


def drop_layer(store: Store, driver: Driver, chain: str, cutoff: int) -> bool:
    """Remove an unpacked layer unless it was claimed since *cutoff*, in nanoseconds."""
    with store.layout.work_lock("layer", chain), full_disk(store.layout.root):
        # A process that claims it now finds no row, and waits for the lock to unpack it again.
        if not store.layer_records.remove(driver.name, chain, cutoff / 1e9):
            return False
        driver.remove(chain)
    return True


def _sweep_indexes(store: Store, names: Iterable[str], cutoff: int) -> list[int]:
    """Remove indexes; returns their sizes."""
    sizes = []
    for name in names:
        path = f"{store.layout.indexes}/{name}"
        if not is_young(path, cutoff):
            with contextlib.suppress(FileNotFoundError):
                size = os.stat(path).st_size
                os.unlink(path)
                sizes.append(size)
    return sizes


def is_young(path: str, cutoff: int) -> bool:
    """Say whether a file was stored or claimed since *cutoff*, or does not exist any more."""
    try:
        return os.stat(path).st_mtime_ns >= cutoff
    except FileNotFoundError:
        return True
