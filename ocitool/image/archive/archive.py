"""Image archives, which docker, podman, skopeo and containerd can load.

An archive is a tar of an OCI image layout, with docker's ``manifest.json`` for the same blobs.
Both forms can be loaded, and docker's older form with layers as plain tars in directories.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ocitool.errors import BadManifest, BadReference, NotAnImage
from ocitool.image.archive.docker import blob_path, read_docker, spool
from ocitool.image.archive.layout import ArchivedImage, DirectorySource, read_layout
from ocitool.image.arrival import Arrival, unpacking
from ocitool.image.copy import copy
from ocitool.image.decompress import plain
from ocitool.image.image import Image
from ocitool.image.store_content import StoreSink
from ocitool.layer.beneath import remove_tree
from ocitool.layer.compression.codecs import CHUNK
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.tar.writer import TarWriter
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index
from ocitool.oci.reference import Reference
from ocitool.progress import SILENT, Notice, ProgressSink
from ocitool.store.full_disk import full_disk
from ocitool.store.refs import CONTAINERD_NAME, REF_NAME
from ocitool.store.store import Store


class NamedImage(NamedTuple):
    """An image to save, with its name (``""`` for none)."""

    image: Image
    name: str


def save(images: Sequence[NamedImage], sink: Callable[[bytes], object]) -> None:
    """Write *images* as one tar to *sink*; docker loads no names with a digest."""
    writer = TarWriter(sink)
    blobs: dict[Digest, tuple[Image, Descriptor]] = {}
    for image, _ in images:
        parts = (image.descriptor, image.manifest.config, *image.manifest.layers)
        blobs.update({part.digest: (image, part) for part in parts})
    named = {image.digest for image, name in images if name}
    entries = {
        (image.digest, name): _named(image.descriptor, name)
        for image, name in images
        if name or image.digest not in named
    }
    docker = _docker_images(images)
    for directory in ("blobs", "blobs/sha256"):
        writer.add(Entry(directory, Kind.DIRECTORY, 0o755))
    for digest in sorted(blobs):
        _write_blob(writer, *blobs[digest])
    _write_file(writer, "index.json", Index.new([*entries.values()]).raw)
    _write_file(writer, "manifest.json", json.dumps(docker, separators=(",", ":")).encode())
    _write_file(writer, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    writer.close()


def _docker_images(images: Sequence[NamedImage]) -> list[dict[str, Any]]:
    """Return the images as docker's ``manifest.json`` lists them: each once, with all its names."""
    found: dict[Digest, dict[str, Any]] = {}
    for image, name in images:
        known = found.setdefault(
            image.id,
            {
                "Config": blob_path(image.id),
                "RepoTags": None,
                "Layers": [blob_path(layer.digest) for layer in image.manifest.layers],
            },
        )
        tag = Reference.parse(name).familiar if name else ""
        if tag and tag not in (known["RepoTags"] or ()):
            known["RepoTags"] = [*(known["RepoTags"] or ()), tag]
    return list(found.values())


def _named(descriptor: Descriptor, name: str) -> Descriptor:
    if not name:
        return descriptor
    # By the image-spec only the tag; containerd's annotation has the full name.
    tag = Reference.parse(name).tag
    return descriptor.annotated(**{CONTAINERD_NAME: name, **({REF_NAME: tag} if tag else {})})


def _write_file(writer: TarWriter, path: str, data: bytes) -> None:
    writer.add(Entry(path, Kind.FILE, 0o644, size=len(data)))
    writer.content(data)


def _write_blob(writer: TarWriter, image: Image, part: Descriptor) -> None:
    writer.add(Entry(blob_path(part.digest), Kind.FILE, 0o644, size=part.size))
    stream = image.source.open(part)
    try:
        while data := stream.read(CHUNK):
            writer.content(data)
    finally:
        stream.close()


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
