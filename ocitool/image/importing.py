"""An image of one layer, from the tar of a file system."""

from __future__ import annotations

from collections.abc import Callable

from ocitool.image.incoming import plain
from ocitool.layer.codec import CHUNK
from ocitool.layer.tar.reader import TarReader
from ocitool.oci.config import History, ImageConfig, RunConfig
from ocitool.oci.content import Stream
from ocitool.oci.manifest import Descriptor, Manifest
from ocitool.oci.mediatypes import OCI_CONFIG
from ocitool.oci.platform import this_platform
from ocitool.oci.timestamps import timestamp
from ocitool.store.store import Store


def import_tar(
    stream: Stream,
    *,
    into: Store,
    name: str = "",
    run: RunConfig | None = None,
    message: str = "",
    epoch: int | None = None,
) -> Descriptor:
    """Make an image of the tar *stream* (perhaps compressed) and keep it as *name*.

    It was made at *epoch* (seconds since 1970, SOURCE_DATE_EPOCH), by default now.

    Raises:
        LayerError: it is not a tar that could be unpacked.
    """
    tar = plain(stream, "file system")

    def write(sink: Callable[[bytes], object]) -> None:
        reader = TarReader(_Tee(tar, sink))
        for _ in reader:  # every member is looked at: a bad one must not get in
            continue
        reader.drain()

    layer = into.layers.pack(write)
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


class _Tee:
    """A stream that gives what is read to *sink*, too."""

    def __init__(self, stream: Stream, sink: Callable[[bytes], object]) -> None:
        self._stream = stream
        self._sink = sink

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(CHUNK if size < 0 else size)
        if data:
            self._sink(data)
        return data

    def close(self) -> None:
        self._stream.close()
