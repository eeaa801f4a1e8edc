"""The tree of an image as one tar, without a layer being unpacked."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator

from ocitool.image.image import Image
from ocitool.layer import entry as kinds
from ocitool.layer.tar.writer import TarWriter
from ocitool.store.store import Store
from ocitool.store.trees import LayeredTree


def export_tar(image: Image, store: Store, sink: Callable[[bytes], object]) -> None:
    """Write what a container of *image*, which is in *store*, would find to *sink* as a tar.

    It is in order of the paths, or GNU tar would not keep the times of directories; so contents
    wait in a temporary file.  The tree's top has no member: unpacking would change the directory
    it is done in.  The same layers give the same bytes.

    Raises:
        LayerError: a layer is damaged.
    """
    tree = LayeredTree(store.layers, image.layers)
    shown = [(found, tree.tree.original(found)) for found in tree.tree.walk("")]
    writer = TarWriter(sink)
    first: dict[tuple[int, int], str] = {}  # the name of each file, by where it is in the layers
    with (
        _scratch(store) as place,
        tree.spool((content for _, content in shown), place) as spool,
    ):
        for found, content in shown:
            path = found.entry.path
            known = path
            if content.entry.kind != kinds.DIRECTORY:
                known = first.setdefault((content.layer, content.offset), path)
            if known != path:
                link = content.entry._replace(kind=kinds.HARDLINK, link=known, size=0)
                writer.add(link._replace(path=path))
                continue
            writer.add(content.entry._replace(path=path))
            for piece in spool.pieces(content):
                writer.content(piece)
    writer.close()


@contextlib.contextmanager
def _scratch(store: Store) -> Iterator[str]:
    """Give a directory for temporary files: the lease's, or for a read-only store another."""
    if not store.layout.readonly:
        yield store.lease().path
        return
    with tempfile.TemporaryDirectory() as place:
        yield place
