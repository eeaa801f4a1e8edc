"""A root file system as one tar: exported from an image, or imported as an image of one layer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ocitool.image.arrival import unpacking
from ocitool.image.decompress import plain
from ocitool.image.image import Image
from ocitool.image.image_fs import LayeredTree
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.tar.writer import TarWriter
from ocitool.oci.config import History, ImageConfig, RunConfig
from ocitool.oci.content import Stream
from ocitool.oci.manifest import Descriptor, Manifest
from ocitool.oci.mediatypes import OCI_CONFIG
from ocitool.oci.platform import this_platform
from ocitool.oci.streams import Tee
from ocitool.oci.timestamps import timestamp
from ocitool.store.store import Store


def export_tar(
    image: Image,
    store: Store,
    sink: Callable[[bytes], object],
    *,
    change: Callable[[Entry], Entry] = lambda entry: entry,
) -> None:
    """Write the root file system of *image*, which is in *store*, to *sink* as a tar.

    *change* returns what is written of an entry, by default the entry itself.

    Its members are sorted by path, because GNU tar would otherwise not keep the timestamps of
    directories; so contents are kept in a temporary file.  There is no member for the root
    directory: unpacking would change the attributes of the target directory.  The same layers give
    the same bytes.

    Raises:
        LayerError: a layer is corrupt.
    """
    tree = LayeredTree(store.layers, image.layers)
    shown = list(tree.tree.walk(""))
    writer = TarWriter(sink)
    first: dict[int, str] = {}  # the first name of each file
    directory = tempfile.gettempdir() if store.layout.readonly else store.lease().path
    with tree.spool(shown, directory) as spool:
        for found in shown:
            entry = found.entry
            name = first.setdefault(found.file, entry.path)
            if name != entry.path:
                writer.add(change(entry._replace(kind=Kind.HARDLINK, link=name, size=0)))
                continue
            writer.add(change(entry))
            for piece in spool.pieces(found):
                writer.content(piece)
    writer.close()


#: Bytes that may follow the end of an archive: far more than any record that tar fills up with
#: zeros, so that an endless device is refused.
_MOST_PADDING: Final = 64 << 20


def import_tar(
    stream: Stream,
    *,
    into: Store,
    name: str,
    run: RunConfig | None = None,
    message: str = "",
    epoch: int | None = None,
) -> Descriptor:
    """Make an image of the tar *stream*, which may be compressed, with the name *name*.

    It is unpacked, as when an image is loaded.

    *epoch* is its time of creation (seconds since 1970, SOURCE_DATE_EPOCH), by default now.

    Raises:
        LayerError: it is not a tar, or cannot be unpacked.
    """
    tar = plain(stream, "file system")

    def write(sink: Callable[[bytes], object]) -> None:
        reader = TarReader(Tee(tar, sink))
        for _ in reader:  # every member is checked: an invalid one must not get into the store
            continue
        reader.drain(_MOST_PADDING)

    layer = replace(into.layers.pack(write), place="the layer of the archive")
    unpacking(into)([layer], 0)
    created = timestamp(epoch)
    config = ImageConfig(
        platform=this_platform(),
        created=created,
        run=run or RunConfig(),
        diff_ids=(layer.diff_id,),
        history=(History(created=created, comment=message or "Imported from -"),),
    ).dump()
    digest = into.blobs.put(config, into.lease())
    manifest = Manifest.new(
        Descriptor(media_type=OCI_CONFIG, digest=digest, size=len(config)), [layer.blob]
    )
    into.blobs.put(manifest.raw, into.lease())
    into.refs.set(name, manifest.descriptor)
    return manifest.descriptor
