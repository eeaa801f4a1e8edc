"""Writing images as OCI image layouts, as one tar or as a directory.

With docker's ``manifest.json`` beside, for the same blobs, docker loads the tar as well as podman,
skopeo and containerd.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from ocitool.errors import BadManifest, NotFound
from ocitool.image.archive.docker import blob_path
from ocitool.image.archive.outfile import archive_file
from ocitool.image.image import Image
from ocitool.layer.compression.codecs import CHUNK
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.tar.writer import TarWriter
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index
from ocitool.oci.mediatypes import OCI_INDEX
from ocitool.oci.reference import Reference
from ocitool.store.refs import CONTAINERD_NAME, REF_NAME, name_of

_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


class NamedImage(NamedTuple):
    """An image to save, with its name (``""`` for none), and annotations of its entry."""

    image: Image
    name: str
    annotations: Mapping[str, str] = {}


class _Writer(Protocol):
    """Takes the files of a layout."""

    def blob(self, image: Image, part: Descriptor) -> None:
        """Write a blob of *image*."""

    def file(self, name: str, data: bytes) -> None:
        """Write a document."""


def save(
    images: Sequence[NamedImage], sink: Callable[[bytes], object], *, docker: bool = True
) -> None:
    """Write *images* as one tar to *sink*; docker loads no names with a digest.

    *docker* says whether docker's ``manifest.json`` is in it.
    """
    tar = TarWriter(sink)
    for directory in ("blobs", "blobs/sha256"):
        tar.add(Entry(directory, Kind.DIRECTORY, 0o755))
    _write(images, _Tar(tar), (), docker=docker)
    tar.close()


def save_directory(images: Sequence[NamedImage], path: str, *, docker: bool = False) -> None:
    """Write *images* to the layout in the directory *path*, which is made if it is missing.

    Other images that it has stay, but lose the names of these.  A document is replaced as a whole,
    and the index last, so that at any time the layout has no name without its blobs.

    Raises:
        BadManifest: the directory has something else in it.
        NotFound: it cannot be written.
    """
    with contextlib.ExitStack() as undo, _errors_translated(path):
        out = _Directory(path, undo)
        out.make("")
        with _locked(path):
            before = _known(path)
            out.make("/blobs")
            out.make("/blobs/sha256")
            _write(images, out, before, docker=docker)
        undo.pop_all()


def _write(
    images: Sequence[NamedImage], out: _Writer, before: Sequence[Descriptor], *, docker: bool
) -> None:
    blobs: dict[Digest, tuple[Image, Descriptor]] = {}
    for image, *_ in images:
        parts = (image.descriptor, image.manifest.config, *image.manifest.layers)
        blobs.update({part.digest: (image, part) for part in parts})
    for digest in sorted(blobs):
        out.blob(*blobs[digest])
    out.file("index.json", Index.new([*_kept(before, images), *_entries(images)]).raw)
    if docker:
        documents = json.dumps(_docker_images(images), separators=(",", ":"))
        out.file("manifest.json", documents.encode())
    out.file("oci-layout", _LAYOUT)


def _entries(images: Sequence[NamedImage]) -> list[Descriptor]:
    """Return the entries of an index: of each name one, and one of an image without any."""
    named = {image.digest for image, name, _ in images if name}
    entries = {
        (each.image.digest, each.name): _named(each)
        for each in images
        if each.name or each.image.digest not in named
    }
    return [*entries.values()]


def _kept(before: Sequence[Descriptor], images: Sequence[NamedImage]) -> list[Descriptor]:
    """Return the entries of an index that stay when *images* are written to it."""
    names = {name_of(_named(each)) for each in images if each.name}
    same = {each.image.digest for each in images}
    return [
        each
        for each in before
        if (name_of(each) not in names if name_of(each) else each.digest not in same)
    ]


def _named(named: NamedImage) -> Descriptor:
    image, name, annotations = named
    entry = image.descriptor.annotated(**annotations) if annotations else image.descriptor
    if not name:
        return entry
    # By the image-spec only the tag; containerd's annotation has the full name.
    tag = Reference.parse(name).tag
    return entry.annotated(**{CONTAINERD_NAME: name, **({REF_NAME: tag} if tag else {})})


def _docker_images(images: Sequence[NamedImage]) -> list[dict[str, Any]]:
    """Return the images as docker's ``manifest.json`` lists them: each once, with all its names."""
    found: dict[Digest, dict[str, Any]] = {}
    for image, name, _ in images:
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


def _pieces(image: Image, part: Descriptor) -> Iterator[bytes]:
    stream = image.source.open(part)
    try:
        while data := stream.read(CHUNK):
            yield data
    finally:
        stream.close()


class _Tar:
    """A layout as the members of a tar."""

    def __init__(self, tar: TarWriter) -> None:
        self._tar = tar

    def blob(self, image: Image, part: Descriptor) -> None:
        self._tar.add(Entry(blob_path(part.digest), Kind.FILE, 0o644, size=part.size))
        for data in _pieces(image, part):
            self._tar.content(data)

    def file(self, name: str, data: bytes) -> None:
        self._tar.add(Entry(name, Kind.FILE, 0o644, size=len(data)))
        self._tar.content(data)


class _Directory:
    """A layout as the files of a directory; *undo* removes what was added to it."""

    def __init__(self, path: str, undo: contextlib.ExitStack) -> None:
        self._path = path
        self._undo = undo

    def make(self, name: str) -> None:
        """Make a directory of the layout where it is missing."""
        path = f"{self._path}{name}"
        if not os.path.isdir(path):
            os.mkdir(path)
            self._undo.callback(_remove, os.rmdir, path)

    def blob(self, image: Image, part: Descriptor) -> None:
        path = f"{self._path}/{blob_path(part.digest)}"
        if not os.path.exists(path):
            self._replace(path, _pieces(image, part))
            self._undo.callback(_remove, os.unlink, path)

    def file(self, name: str, data: bytes) -> None:
        self._replace(f"{self._path}/{name}", (data,))

    def _replace(self, path: str, pieces: Iterable[bytes]) -> None:
        with _errors_translated(self._path), archive_file(path, mode=0o666) as write:
            for data in pieces:
                write(data)


def _remove(remove: Callable[[str], None], path: str) -> None:
    with contextlib.suppress(OSError):  # the first error is the one to report
        remove(path)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Let one process at a time change the layout in the directory *path*."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _known(path: str) -> Sequence[Descriptor]:
    """Return the entries of the layout in the directory *path*, none if it is empty."""
    if not os.listdir(path):
        return ()
    try:
        with open(f"{path}/index.json", "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        raise BadManifest(
            "the directory is not empty, and no OCI image layout",
            where=path,
            hint="choose a new directory, or one that has a layout",
        ) from None
    return Index.parse(raw, OCI_INDEX, limit=len(raw)).manifests


@contextlib.contextmanager
def _errors_translated(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Without its cause: a full disk here is not the disk of the store.
        raise NotFound(f"cannot write the layout: {error.strerror}", where=path) from None
