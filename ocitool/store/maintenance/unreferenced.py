"""Unreferenced data, which `system prune` removes: harmless, but it takes space."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ocitool.store.directory.atomic import is_temporary
from ocitool.store.directory.leases import is_alive, lease_of, oldest_lease
from ocitool.store.drivers import drivers_of, open_driver
from ocitool.store.maintenance.mark import mark
from ocitool.store.maintenance.prune import is_young, orphans
from ocitool.store.maintenance.served_stores import is_served
from ocitool.store.run_mounts import dead_copies, forms
from ocitool.store.store import Store


def unreferenced_data(store: Store) -> Iterator[str]:
    """Yield a line for each kind of unreferenced data, with the first names.

    What is younger than the oldest active lease may belong to unfinished work, and is skipped.
    Nothing is yielded for the store of a registry server, where nothing may be removed.
    """
    if is_served(store):
        return
    cutoff = oldest_lease(store.layout)
    marks = mark(store)
    blobs = [d for d in store.blobs.all() if d not in marks.blobs]
    blobs = [d for d in blobs if not is_young(store.blobs.path(d), cutoff)]
    size = sum(store.blobs.size(d) or 0 for d in blobs)
    yield from _line(f"unreferenced blobs ({size} bytes)", sorted(map(str, blobs)))
    kept = {diff.encoded for diff in marks.diffs}
    indexes = sorted(_indexes(store, kept, cutoff))
    yield from _line("unreferenced layer indexes", indexes)
    yield from _line("directories of processes that have ended", sorted(_dead(store)))
    for form in forms(store.layout):
        dead = sorted(dead_copies(store.layout, form))
        yield from _line("directories for mounts of processes that have ended", dead)
    for name in drivers_of(store.layout):
        yield from _of_driver(store, name, cutoff)


def _indexes(store: Store, kept: set[str], cutoff: int) -> Iterator[str]:
    for name in os.listdir(store.layout.indexes):
        path = f"{store.layout.indexes}/{name}"
        if name not in kept and not is_temporary(name) and not is_young(path, cutoff):
            yield name


def _dead(store: Store) -> Iterator[str]:
    for name in os.listdir(store.layout.tmp):
        if not is_alive(store.layout, name):
            yield f"tmp/{name}"


def _of_driver(store: Store, name: str, cutoff: int) -> Iterator[str]:
    with open_driver(store.make_driver, name) as driver:
        if driver is None:
            return
        records = store.layer_records.of_driver(name)
        lost = sorted(set(driver.layers()) - {record.chain_id for record in records})
        yield from _line(f"layers of driver {name} that are not in the database", lost)
        old = {record.chain_id for record in records if record.used < cutoff / 1e9}
        useless = [chain for chain in orphans(store, name) if chain in old]
        yield from _line(f"layers of driver {name} whose parents are gone", useless)
        dead = [key for key in driver.trees() if not is_alive(store.layout, lease_of(key))]
        yield from _line(f"snapshots of driver {name} whose process has ended", sorted(dead))


def _line(what: str, names: list[str]) -> Iterator[str]:
    if names:
        shown = ", ".join(name[:19] for name in names[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{len(names)} {what}: {shown}{more}"
