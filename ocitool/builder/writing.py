"""Writing a planned layer straight from its sources into a blob."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from ocitool.builder.copy import Part
from ocitool.builder.planned import Planned
from ocitool.builder.sources import Content
from ocitool.builder.workshop import Workshop
from ocitool.layer import entry as kinds
from ocitool.layer.index.index import IndexWriter
from ocitool.layer.tar.writer import TarWriter
from ocitool.store.layer_content import Layer

_SECOND = 1_000_000_000


def write_layer(shop: Workshop, planned: Iterable[Planned], parts: Sequence[Part] = ()) -> Layer:
    """Make a layer of *planned*, whose contents *parts* have; nothing is unpacked.

    The shop's epoch is the latest time an entry gets.
    """
    index, epoch = IndexWriter(), shop.epoch
    with contextlib.ExitStack() as stack:
        contents = [stack.enter_context(_contents(number, part, planned))
                    for number, part in enumerate(parts)]  # fmt: skip

        def write(sink: Callable[[bytes], object]) -> None:
            writer = TarWriter(sink)
            for entry, part, handle in planned:
                if epoch is not None and entry.mtime > epoch * _SECOND:
                    entry = entry._replace(mtime=epoch * _SECOND)
                # A tar of ours has whole seconds; its index must say what it says.
                entry = entry._replace(mtime=entry.mtime // _SECOND * _SECOND)
                writer.add(entry)
                index.add(entry, writer.offset)
                if entry.kind == kinds.FILE and entry.size:
                    for piece in contents[part](handle, entry.size):
                        writer.content(piece)
            writer.close()

        layer = shop.store.layers.pack(write, shop.compression)
    shop.store.layers.keep_index(layer.diff_id, index.dump())
    return layer


@contextlib.contextmanager
def _contents(number: int, part: Part, planned: Iterable[Planned]) -> Iterator[Content]:
    if part.archive is not None:
        yield part.archive.content
        return
    handles = []
    if not part.source.random_access:
        handles = [
            item.handle
            for item in planned
            if item.part == number and item.entry.kind == kinds.FILE and item.handle is not None
        ]
    with part.source.contents(handles) as content:
        yield content
