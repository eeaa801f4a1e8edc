"""Loading image archives: OCI image layouts in a tar, and what docker and podman save.

Docker's older form is loaded as well, with layers as plain tars in directories.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ocitool.errors import BadManifest, BadReference, NotAnImage
from ocitool.image.archive.docker import read_docker, spool
from ocitool.image.archive.layout import ArchivedImage, DirectorySource, read_layout
from ocitool.image.arrival import Arrival, unpacking
from ocitool.image.copy import copy
from ocitool.image.decompress import plain
from ocitool.image.store_content import StoreSink
from ocitool.layer.beneath import remove_tree
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest
from ocitool.oci.reference import Reference
from ocitool.progress import SILENT, Notice, ProgressSink
from ocitool.store.directory.full_disk import full_disk
from ocitool.store.store import Store


class LoadedImage(NamedTuple):
    """An image that was loaded, with its name (``""`` for none) and its ID."""

    name: str
    id: Digest


def load(
    stream: Stream, *, into: Store, progress: ProgressSink = SILENT
) -> tuple[LoadedImage, ...]:
    """Load every image of an archive into a store, and unpack it.

    An image of an OCI image layout whose name is no reference is loaded without a name, with a
    warning; so is an artifact left out beside images.

    Raises:
        LayerError: it is not a tar; or a layer cannot be unpacked.
        BadManifest: it is not an image archive, or an image in it is wrong.
        BadReference: a name in docker's ``manifest.json`` is invalid.
        DigestMismatch: a blob is corrupt, or a layer is not what its diff ID says.
        StoreError: the disk is full, or fails.
    """
    directory = f"{into.lease().file()}.d"
    try:
        with full_disk(into.layout.root):
            os.mkdir(directory, 0o700)
            spool(plain(stream, "archive"), directory)
            found = [_named_image(image, progress) for image in _images(directory)]
        return tuple(_load(directory, found, into, progress))
    finally:
        remove_tree(directory)


def _load(
    directory: str, images: Sequence[ArchivedImage], into: Store, progress: ProgressSink
) -> Iterator[LoadedImage]:
    prepare = unpacking(into, progress)
    for name, root, _ in images:
        called = Reference.parse(name).familiar if name else "archive"
        source = DirectorySource(directory, root)
        try:
            copied = copy(
                source,
                StoreSink(into, name),
                name=called,
                progress=progress,
                action="load",
                observer=Arrival(into, called, prepare),
            )
        except NotAnImage as error:
            if len(images) == 1:
                raise
            progress.emit(Notice(text=f"not loaded: {error}", level="warning"))
        else:
            yield LoadedImage(name, into.image_id(copied))


def _named_image(image: ArchivedImage, progress: ProgressSink) -> ArchivedImage:
    """Return *image* with its full name, or without an invalid one of a layout."""
    try:
        return image._replace(name=str(Reference.parse_new(image.name)) if image.name else "")
    except BadReference as error:
        if not image.lenient:
            raise
        progress.emit(Notice(text=f"loaded without its name: {error}", level="warning"))
        return image._replace(name="")


def _images(directory: str) -> list[ArchivedImage]:
    if os.path.exists(f"{directory}/index.json"):
        return read_layout(directory)
    if os.path.exists(f"{directory}/manifest.json"):
        return list(read_docker(directory))
    raise BadManifest(
        "the archive has neither index.json nor manifest.json",
        where="archive",
        hint="use `ocitool import` for a tar of a file system",
    )
