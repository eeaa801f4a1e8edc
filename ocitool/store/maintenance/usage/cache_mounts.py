"""Disk usage of the directories of ``RUN --mount=type=cache``, and removing those not in use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ocitool.errors import DriverUnavailable, PluginError
from ocitool.store.run_mounts import CacheMountUse, RunMounts, forms
from ocitool.store.store import Store


def cache_mounts(store: Store) -> list[CacheMountUse]:
    """Return all of them, the most recently used first."""
    found = [use for trees in _all_trees(store) for use in trees.uses()]
    return sorted(found, key=lambda use: use.used, reverse=True)


def prune_cache_mounts(
    store: Store, *, until: int | None = None, space: int | None = None
) -> list[int]:
    """Remove cache mounts that are not in use; return their sizes in bytes.

    *until* (nanoseconds since the epoch) removes those last used before it.  *space* is the limit
    in bytes for the others: the least recently used are removed until it is met.  Without either,
    all are removed.
    """
    removed: list[int] = []
    for trees in _all_trees(store):
        total = 0
        for use in trees.uses():
            total += use.size
            old = until is not None and use.used < until / 1e9
            much = space is not None and total > space
            if (old or much or until is space is None) and trees.remove(use.name):
                removed.append(use.size)
    return removed


def _all_trees(store: Store) -> Iterator[RunMounts]:
    """Yield the trees of each form that is available now."""
    for form in forms(store.layout):
        trees = _of_form(store, form)
        with contextlib.closing(trees), contextlib.suppress(DriverUnavailable, PluginError):
            yield trees


def _of_form(store: Store, form: str) -> RunMounts:
    return RunMounts(store.layout, store.lease, lambda: form)
