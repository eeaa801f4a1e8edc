"""Layers that are made of an image's new layers: one of all, or with one time for all files.

Both are steps with a cache key of their own: the second build finds what the first has made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ocitool.builder.solver.cache import Cache, step_record
from ocitool.builder.solver.keys import chain, key_of
from ocitool.image.image_fs import LayeredTree
from ocitool.layer.codec import CHUNK
from ocitool.layer.entry import WHITEOUT, Entry, Kind
from ocitool.layer.index.merged import Found, ImageTree
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.tar.writer import TarWriter
from ocitool.oci.timestamps import SECOND
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store

Sink = Callable[[bytes], object]


def squashed(
    store: Store, layers: Sequence[Layer], base: int, *, cache: Cache, created: str
) -> tuple[Layer, ...]:
    """Return *layers* with one layer instead of all above the lowest *base*.

    It holds what the file system on top has and the one below has not, and a whiteout for what
    only the one below has.  Of a file with several names it has all if one has changed.
    """
    below = layers[:base]
    key = key_of("squash", chain(below), chain(layers))

    def write(sink: Sink) -> None:
        tree = LayeredTree(store.layers, layers)
        changes = list(_Changes(ImageTree(store.layers.index(each) for each in below), tree, base))
        writer = TarWriter(sink)
        first: dict[int, str] = {}  # the first name of each file
        wanted = [each.found for each in changes if each.found is not None]
        with tree.spool(wanted, store.lease().path) as spool:
            for entry, found in changes:
                name = entry.path if found is None else first.setdefault(found.file, entry.path)
                if name != entry.path:
                    writer.add(entry._replace(kind=Kind.HARDLINK, link=name, size=0))
                    continue
                writer.add(entry)
                for piece in spool.pieces(found) if found is not None else ():
                    writer.content(piece)
        writer.close()

    return (*below, _made(store, key, write, below, cache=cache, created=created))


def retimed(
    store: Store, layers: Sequence[Layer], base: int, epoch: int, *, cache: Cache, created: str
) -> tuple[Layer, ...]:
    """Return *layers* with the time *epoch* for every member of those above the lowest *base*."""
    made = list(layers[:base])
    for layer in layers[base:]:
        key = key_of("timestamp", chain(made), str(layer.diff_id), epoch)

        def write(sink: Sink, layer: Layer = layer) -> None:
            stream = store.layers.open(layer)
            try:
                reader, writer = TarReader(stream), TarWriter(sink)
                for entry in reader:
                    writer.add(entry._replace(mtime=epoch * SECOND))
                    while data := reader.read(CHUNK):
                        writer.content(data)
                reader.drain()
                writer.close()
            finally:
                stream.close()

        made.append(_made(store, key, write, made, cache=cache, created=created))
    return tuple(made)


def _made(
    store: Store,
    key: str,
    write: Callable[[Sink], None],
    below: Sequence[Layer],
    *,
    cache: Cache,
    created: str,
) -> Layer:
    """Return the layer that *write* writes, or what it has written before."""
    record = cache.get(key)
    if record is None:
        with store.layout.work_lock("step", key):
            record = cache.get(key)
            if record is None:
                record = step_record(store.layers.pack(write), created, below)
                cache.put(key, record)
    return record.layer


class _Change(NamedTuple):
    """A member of the layer, and where its content is; None for a whiteout."""

    entry: Entry
    found: Found | None


class _Changes:
    """Compares two file systems; changes come with their parent directories."""

    def __init__(self, before: ImageTree, after: LayeredTree, base: int) -> None:
        self._before = before
        self._after = after.tree
        self._changed = {
            found.file
            for found in self._after.walk("")
            if found.layer >= base or self._differs(found)
        }

    def __iter__(self) -> Iterator[_Change]:
        return self._directory("")

    def _differs(self, found: Found) -> bool:
        known = self._before.get(found.entry.path)
        return known is None or known.entry != found.entry

    def _directory(self, path: str) -> Iterator[_Change]:
        prefix = f"{path}/" if path else ""
        names = self._after.names(path)
        for name in sorted({*self._before.names(path)}.difference(names)):
            yield _Change(Entry(f"{prefix}{WHITEOUT}{name}", Kind.FILE, 0), None)
        for name in names:
            found = self._after.get(prefix + name)
            assert found is not None  # it is one of the names
            if found.entry.kind == Kind.DIRECTORY:
                yield from self._subdirectory(found)
            elif found.file in self._changed:
                yield _Change(found.entry, found)

    def _subdirectory(self, found: Found) -> Iterator[_Change]:
        inside = self._directory(found.entry.path)
        first = next(inside, None)
        if first is not None or self._differs(found):
            yield _Change(found.entry, found)
        if first is not None:
            yield first
            yield from inside
