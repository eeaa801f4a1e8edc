"""Images in one file: written so that docker, podman, skopeo and containerd all load it.

The file is an OCI layout in a tar, with docker's ``manifest.json`` beside it over the same blobs.
Read is either, and docker's older form, whose layers are plain tars in folders.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence

from ocitool.errors import BadManifest, ImageNotFound, LayerError
from ocitool.image.copy import copy
from ocitool.image.directory import DirectorySource, read_layout
from ocitool.image.image import Image
from ocitool.image.local import StoreSink
from ocitool.layer import entry as kinds
from ocitool.layer.compression import CHUNK, sniff
from ocitool.layer.entry import Entry, split
from ocitool.layer.reader import TarReader
from ocitool.layer.writer import TarWriter
from ocitool.oci.config import ImageConfig
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, Manifest
from ocitool.oci.mediatypes import OCI_CONFIG, layer_type
from ocitool.oci.reference import Reference
from ocitool.progress import SILENT, ProgressSink
from ocitool.store.refs import CONTAINERD_NAME, REF_NAME
from ocitool.store.store import Store


def save(images: Sequence[tuple[Image, str]], sink: Callable[[bytes], object]) -> None:
    """Write *images*, each with its name (``""`` for none), as one tar to *sink*."""
    writer = TarWriter(sink)
    blobs: dict[Digest, tuple[Image, Descriptor]] = {}
    entries, docker = [], []
    for image, name in images:
        parts = (image.descriptor, image.manifest.config, *image.manifest.layers)
        blobs.update({part.digest: (image, part) for part in parts})
        entries.append(_named(image.descriptor, name))
        docker.append(
            {
                "Config": _blob_path(image.manifest.config.digest),
                "RepoTags": [Reference.parse(name).familiar] if name else None,
                "Layers": [_blob_path(layer.digest) for layer in image.manifest.layers],
            }
        )
    for directory in ("blobs", "blobs/sha256"):
        writer.add(Entry(directory, kinds.DIRECTORY, 0o755))
    for digest in sorted(blobs):
        _write_blob(writer, *blobs[digest])
    _write_file(writer, "index.json", Index.new(entries).raw)
    _write_file(writer, "manifest.json", json.dumps(docker, separators=(",", ":")).encode())
    _write_file(writer, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    writer.close()


def _named(descriptor: Descriptor, name: str) -> Descriptor:
    if not name:
        return descriptor
    # By the image-spec the tag alone; containerd's annotation has all of it.
    tag = Reference.parse(name).tag
    return descriptor.annotated(**{CONTAINERD_NAME: name, **({REF_NAME: tag} if tag else {})})


def _blob_path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def _write_file(writer: TarWriter, path: str, data: bytes) -> None:
    writer.add(Entry(path, kinds.FILE, 0o644, size=len(data)))
    writer.content(data)


def _write_blob(writer: TarWriter, image: Image, part: Descriptor) -> None:
    writer.add(Entry(_blob_path(part.digest), kinds.FILE, 0o644, size=part.size))
    stream = image.source.open(part)
    try:
        while data := stream.read(CHUNK):
            writer.content(data)
    finally:
        stream.close()


def load(stream: Stream, *, into: Store, progress: ProgressSink = SILENT) -> tuple[str, ...]:
    """Bring every image of an archive into a store; returns their names, or ids without one.

    Raises:
        LayerError: it is not a tar.
        BadManifest: it is not an archive of images.
        DigestMismatch: a blob is not what it should be.
    """
    directory = f"{into.lease().file()}.d"
    os.mkdir(directory, 0o700)
    _spool(plain(stream), directory)
    if os.path.exists(f"{directory}/index.json"):
        found = read_layout(directory)
    elif os.path.exists(f"{directory}/manifest.json"):
        found = list(_docker(directory))
    else:
        raise BadManifest(
            "it has neither index.json nor manifest.json",
            where="archive",
            hint="for a file system in a tar there is `ocitool import`",
        )
    names = []
    for name, root in found:
        full = str(Reference.parse(name)) if name else ""
        source = DirectorySource(directory, root)
        copied = copy(source, StoreSink(into, full), progress=progress, action="load")
        names.append(full or str(copied.digest))
    return tuple(names)


def plain(stream: Stream) -> Stream:
    """Return *stream* inflated, if it is compressed."""
    peeked = _Peeked(stream)
    codec = sniff(peeked.head)
    return codec.decompress(peeked) if codec is not None else peeked


class _Peeked:
    """A stream of which the first bytes were looked at."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.head = b""
        while len(self.head) < 6 and (data := stream.read(6 - len(self.head))):
            self.head += data
        self._left = self.head

    def read(self, size: int = -1, /) -> bytes:
        if self._left:
            data, self._left = self._left, b""
            return data
        return self._stream.read(size)

    def close(self) -> None:
        self._stream.close()


def _spool(stream: Stream, directory: str) -> None:
    """Unpack the archive's files; paths were proved by the reader, links are remade as links."""
    reader = TarReader(stream)
    for entry in reader:
        path = f"{directory}/{entry.path}"
        os.makedirs(f"{directory}/{split(entry.path)[0]}", mode=0o700, exist_ok=True)
        if entry.kind == kinds.FILE:
            with open(path, "xb") as file:
                while data := reader.read(CHUNK):
                    file.write(data)
        elif entry.kind in (kinds.SYMLINK, kinds.HARDLINK):
            _link(directory, entry)


def _link(directory: str, entry: Entry) -> None:
    # docker's older archives say so that a layer is there already; only that is followed.
    target = entry.link
    if entry.kind == kinds.SYMLINK:
        target = os.path.normpath(os.path.join(split(entry.path)[0], entry.link))
    if target.startswith(("/", "..")):
        raise LayerError("a link leads out of the archive", where=entry.path)
    os.symlink(os.path.join(directory, target), f"{directory}/{entry.path}")


def _docker(directory: str) -> Iterator[tuple[str, Descriptor]]:
    """Make manifests for docker's older form, and put everything where a layout has it."""
    with open(f"{directory}/manifest.json", "rb") as file:
        images = json.load(file)
    if not isinstance(images, list):
        raise BadManifest("is not a list", where="manifest.json")
    for at, image in enumerate(images):
        where = f"manifest.json[{at}]"
        try:
            config, layers = str(image["Config"]), [str(path) for path in image["Layers"]]
        except (KeyError, TypeError) as error:
            raise BadManifest("lacks Config or Layers", where=where) from error
        raw = _read(directory, config)
        parsed = ImageConfig.parse(raw)
        if len(parsed.diff_ids) != len(layers):
            raise BadManifest("has another number of layers than its config", where=where)
        manifest = Manifest.new(
            _adopt(directory, config, OCI_CONFIG),
            [_adopt(directory, path, "") for path in layers],
        )
        place = f"{directory}/{_blob_path(manifest.descriptor.digest)}"
        with open(place, "wb") as out:
            out.write(manifest.raw)
        for name in image.get("RepoTags") or [""]:
            yield name, manifest.descriptor


def _read(directory: str, path: str) -> bytes:
    try:
        with open(f"{directory}/{os.path.normpath(path)}", "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageNotFound(f"the archive lacks {path}") from error


def _adopt(directory: str, path: str, media_type: str) -> Descriptor:
    """Give a file of the archive its name as a blob; returns its descriptor."""
    if os.path.normpath(path).startswith(("/", "..")):
        raise BadManifest(f"{path!r} is outside", where="manifest.json")
    try:
        with open(f"{directory}/{path}", "rb") as file:
            head = file.read(6)
            file.seek(0)
            digest = Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise ImageNotFound(f"the archive lacks {path}") from error
    codec = sniff(head)
    place = f"{directory}/{_blob_path(digest)}"
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if not os.path.lexists(place):
        os.symlink(os.path.realpath(f"{directory}/{path}"), place)
    kind = media_type or layer_type(codec.name if codec is not None else "none")
    size = os.stat(place).st_size
    return Descriptor(media_type=kind, digest=digest, size=size)
