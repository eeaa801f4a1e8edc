"""What takes how much space."""

from __future__ import annotations

from dataclasses import dataclass

from ocitool.oci.digest import Digest
from ocitool.store.gc import Marks, mark, mark_image
from ocitool.store.refs import name_of
from ocitool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of content.  Shared blobs count once, with the first kind that has them."""

    kind: str
    total: int
    active: int
    size: int  # bytes
    reclaimable: int  # bytes that `system prune` gives back


def usage(store: Store) -> tuple[Row, ...]:
    """Measure images, unpacked layers and the build cache."""
    named, everything = Marks(), Marks()
    entries = store.refs.all()
    for entry in entries:
        mark_image(store, entry, everything)
        if name_of(entry):
            mark_image(store, entry, named)
    sizes = {digest: store.blobs.size(digest) or 0 for digest in store.blobs.all()}
    with_cache = mark(store)
    images = _sum(sizes, everything.blobs)
    cache = with_cache.blobs - everything.blobs
    layers = _layers(store)
    unused = [chain for chain, _ in layers if chain not in everything.layers]
    orphans = set(sizes) - with_cache.blobs
    return (
        Row(
            kind="Images",
            total=len({entry.digest for entry in entries}),
            active=len({entry.digest for entry in entries if name_of(entry)}),
            size=images,
            reclaimable=images - _sum(sizes, named.blobs),
        ),
        Row(
            kind="Unpacked layers",
            total=len(layers),
            active=len(layers) - len(unused),
            size=sum(size for _, size in layers),
            reclaimable=sum(size for chain, size in layers if chain in unused),
        ),
        Row(
            kind="Build cache",
            total=store.database.rows("SELECT COUNT(*) FROM cache")[0][0],
            active=0,
            size=_sum(sizes, cache | orphans),
            reclaimable=_sum(sizes, cache | orphans),
        ),
    )


def _layers(store: Store) -> list[tuple[str, int]]:
    rows = store.database.rows("SELECT chain, driver FROM layers")
    if not rows:
        return []
    driver = store.layers.driver
    here = set(driver.layers())
    return [
        (chain, driver.usage(chain).size)
        for chain, name in rows
        if name == driver.name and chain in here
    ]


def _sum(sizes: dict[Digest, int], digests: set[Digest]) -> int:
    return sum(sizes.get(digest, 0) for digest in digests)
