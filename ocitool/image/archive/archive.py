"""Image archives, which docker, podman, skopeo and containerd can load.

An archive is a tar of an OCI image layout, with docker's ``manifest.json`` for the same blobs.
Both forms can be loaded, and docker's older form with layers as plain tars in directories.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ocitool.errors import BadManifest
from ocitool.image.archive.docker import blob_path, read_docker, spool
from ocitool.image.archive.layout import ArchivedImage, DirectorySource, read_layout
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
from ocitool.progress import SILENT, ProgressSink
from ocitool.store.full_disk import full_disk
from ocitool.store.refs import CONTAINERD_NAME, REF_NAME
from ocitool.store.store import Store


class NamedImage(NamedTuple):
    """An image to save, with its name (``""`` for none)."""

    image: Image
    name: str


def save(images: Sequence[NamedImage], sink: Callable[[bytes], object]) -> None:
    """Write *images* as one tar to *sink*."""
    writer = TarWriter(sink)
    blobs: dict[Digest, tuple[Image, Descriptor]] = {}
    entries, docker = [], []
    for image, name in images:
        parts = (image.descriptor, image.manifest.config, *image.manifest.layers)
        blobs.update({part.digest: (image, part) for part in parts})
        entries.append(_named(image.descriptor, name))
        docker.append(
            {
                "Config": blob_path(image.manifest.config.digest),
                "RepoTags": [Reference.parse(name).familiar] if name else None,
                "Layers": [blob_path(layer.digest) for layer in image.manifest.layers],
            }
        )
    for directory in ("blobs", "blobs/sha256"):
        writer.add(Entry(directory, Kind.DIRECTORY, 0o755))
    for digest in sorted(blobs):
        _write_blob(writer, *blobs[digest])
    _write_file(writer, "index.json", Index.new(entries).raw)
    _write_file(writer, "manifest.json", json.dumps(docker, separators=(",", ":")).encode())
    _write_file(writer, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    writer.close()


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


def load(stream: Stream, *, into: Store, progress: ProgressSink = SILENT) -> tuple[str, ...]:
    """Load every image of an archive into a store; returns their names, or digests without one.

    Raises:
        LayerError: it is not a tar.
        BadManifest: it is not an image archive.
        DigestMismatch: a blob is corrupt.
        StoreError: the disk is full, or fails.
    """
    directory = f"{into.lease().file()}.d"
    try:
        with full_disk(into.layout.root):
            os.mkdir(directory, 0o700)
            spool(plain(stream, "archive"), directory)
            found = _images(directory)
        names = []
        for name, root in found:
            full = str(Reference.parse(name)) if name else ""
            source = DirectorySource(directory, root)
            sink, called = StoreSink(into, full), full or "archive"
            copied = copy(source, sink, name=called, progress=progress, action="load")
            names.append(full or str(copied.digest))
        return tuple(names)
    finally:
        remove_tree(directory)


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
