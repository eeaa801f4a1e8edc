"""Image archives unpacked to a directory, and docker's older form converted to an image layout.

Docker's ``manifest.json`` lists images by the paths of their config and layers in the archive.
Nothing outside of the directory is read or written, whatever the archive contains.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, Final, TypeGuard

from ocitool.errors import BadManifest, FormatError, ImageNotFound, LayerError
from ocitool.image.archive.layout import ArchivedImage
from ocitool.layer.compression.codecs import CHUNK, sniff
from ocitool.layer.entry import Entry, Kind, split
from ocitool.layer.tar.reader import TarReader
from ocitool.oci import limits
from ocitool.oci.config import ImageConfig
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest
from ocitool.oci.json_text import parse_json
from ocitool.oci.manifest import MANIFEST_LIMIT, Descriptor, Manifest
from ocitool.oci.mediatypes import OCI_CONFIG, layer_type

#: Errors of members that conflict with each other: a file where a directory should be, and so on.
_CONFUSED: Final = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT,
     errno.EINVAL}
)  # fmt: skip


def blob_path(digest: Digest) -> str:
    """Return the path of a blob in a layout."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def spool(stream: Stream, directory: str) -> None:
    """Unpack an archive's files.  The tar reader has checked the paths; links stay links.

    Of a member that comes twice (``tar -r``) the last one counts, as everywhere in tar.

    Raises:
        LayerError: it is not a tar, or its members conflict with each other.
    """
    reader = TarReader(stream)
    for entry in reader:
        try:
            _unpack(reader, entry, directory)
        except OSError as error:
            if error.errno not in _CONFUSED:
                raise
            raise LayerError(
                f"member conflicts with another one: {error.strerror}", where=entry.path
            ) from error


def _unpack(reader: TarReader, entry: Entry, directory: str) -> None:
    path = f"{directory}/{entry.path}"
    os.makedirs(f"{directory}/{split(entry.path)[0]}", mode=0o700, exist_ok=True)
    if entry.kind != Kind.DIRECTORY:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # a link itself, never what it leads to
    if entry.kind == Kind.FILE:
        with open(path, "xb") as file:
            while data := reader.read(CHUNK):
                file.write(data)
    elif entry.kind in (Kind.SYMLINK, Kind.HARDLINK):
        _link(directory, entry)


def _link(directory: str, entry: Entry) -> None:
    # Older archives of docker have links to layers that are in the archive already.
    target = entry.link
    if entry.kind == Kind.SYMLINK:
        target = os.path.join(split(entry.path)[0], entry.link)
    inside = _inside(target)
    if inside is None:
        raise LayerError("link points outside of the archive", where=entry.path)
    os.symlink(os.path.join(directory, inside), f"{directory}/{entry.path}")


def _inside(path: str) -> str | None:
    """Return *path* normalised, None if it points outside of the archive."""
    normal = os.path.normpath(path)
    if "\0" in normal or normal == ".." or normal.startswith(("/", "../")):
        return None
    return normal


def read_docker(directory: str) -> Iterator[ArchivedImage]:
    """Convert docker's older form to an image layout: write manifests, and link the blobs.

    Yields an image for each of its names.
    """
    adopt = cache(partial(_adopt, directory))  # each file is hashed once
    for at, image in enumerate(_documents(directory)):
        where = f"manifest.json[{at}]"
        config, layers, names = _fields(image, where)
        _require_small(directory, config, where)
        descriptor = adopt(config, OCI_CONFIG)
        diff_ids = _diff_ids(f"{directory}/{blob_path(descriptor.digest)}", config)
        if len(diff_ids) != len(layers):
            raise BadManifest(
                f"the config names {len(diff_ids)} layers, and the manifest {len(layers)}",
                where=where,
            )
        manifest = Manifest.new(descriptor, [adopt(path, "") for path in layers])
        path = f"{directory}/{blob_path(manifest.descriptor.digest)}"
        if not os.path.lexists(path):
            with open(path, "xb") as out:
                out.write(manifest.raw)
        for name in names:
            yield ArchivedImage(name, manifest.descriptor)


def _documents(directory: str) -> list[Any]:
    try:
        with open(f"{directory}/manifest.json", "rb") as file:
            images = parse_json(file.read(MANIFEST_LIMIT + 1))
    except (OSError, ValueError) as error:
        raise BadManifest(f"cannot read the file: {error}", where="manifest.json") from error
    if not isinstance(images, list):
        raise BadManifest("expected a list of images", where="manifest.json")
    return images


def _fields(image: Any, where: str) -> tuple[str, list[str], list[str]]:
    if not isinstance(image, dict):
        raise BadManifest("expected an object", where=where)
    config, layers, names = image.get("Config"), image.get("Layers"), image.get("RepoTags")
    if not isinstance(config, str) or not _are_strings(layers):
        raise BadManifest("missing Config or Layers", where=where)
    if len(layers) > limits.LAYERS:
        message = f"{config} has {len(layers)} layers, and the limit is {limits.LAYERS}"
        raise BadManifest(message, where=where)
    if names is not None and not _are_strings(names):
        raise BadManifest("expected a list of names", where=f"{where}.RepoTags")
    return config, layers, names or [""]


def _diff_ids(path: str, name: str) -> tuple[Digest, ...]:
    with open(path, "rb") as file:
        raw = file.read()
    try:
        return ImageConfig.parse(raw).diff_ids
    except FormatError as error:
        error.where = f"{name}: {error.where}"
        raise


def _are_strings(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _require_small(directory: str, config: str, where: str) -> None:
    with contextlib.suppress(OSError):  # a missing file is reported later
        size = os.stat(f"{directory}/{_inside(config)}").st_size
        if size > limits.CONFIG:
            message = f"the config {config} has {size} bytes, and the limit is {limits.CONFIG}"
            raise BadManifest(message, where=where)


def _adopt(directory: str, path: str, media_type: str) -> Descriptor:
    """Link a file of the archive as a blob of the layout; returns its descriptor."""
    inside = _inside(path)
    if inside is None:
        raise BadManifest(f"path {path!r} points outside of the archive", where="manifest.json")
    try:
        with open(f"{directory}/{inside}", "rb") as file:
            head = file.read(6)
            file.seek(0)
            digest = Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ImageNotFound(f"{path} is not in the archive") from error
    blob = f"{directory}/{blob_path(digest)}"
    os.makedirs(os.path.dirname(blob), exist_ok=True)
    if not os.path.lexists(blob):
        os.symlink(os.path.realpath(f"{directory}/{inside}"), blob)
    codec = sniff(head)
    kind = media_type or layer_type(codec.name if codec is not None else "none")
    return Descriptor(media_type=kind, digest=digest, size=size)
