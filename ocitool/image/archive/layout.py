"""An OCI image layout in a directory, as a source of content."""

from __future__ import annotations

from typing import NamedTuple

from ocitool.errors import BadManifest, BlobNotFound
from ocitool.oci.content import Stream
from ocitool.oci.manifest import MANIFEST_LIMIT, Descriptor, Index
from ocitool.oci.mediatypes import OCI_INDEX
from ocitool.oci.streams import VerifiedReader
from ocitool.store.refs import name_of


class ArchivedImage(NamedTuple):
    """An image in an archive, with its name (``""`` for none).

    It is *lenient* if tools write names there that are no references.
    """

    name: str
    root: Descriptor
    lenient: bool = False


class DirectorySource:
    """The content of the layout in *directory*; *root* is the manifest or index it stands for."""

    def __init__(self, directory: str, root: Descriptor) -> None:
        self._directory = directory
        self._root = root

    def resolve(self) -> Descriptor:
        return self._root

    def fetch(self, descriptor: Descriptor) -> bytes:
        reader = self._open(descriptor, min(descriptor.size, MANIFEST_LIMIT))
        with reader:
            return reader.read() + reader.read()

    def open(self, descriptor: Descriptor) -> Stream:
        return self._open(descriptor, descriptor.size)

    def _open(self, descriptor: Descriptor, size: int) -> VerifiedReader:
        digest = descriptor.digest
        try:
            path = f"{self._directory}/blobs/{digest.algorithm}/{digest.encoded}"
            file = open(path, "rb", buffering=0)
        except OSError:
            raise BlobNotFound(f"blob {digest} is not in the archive") from None
        return VerifiedReader(file, digest, size, where="archive")


def read_layout(directory: str) -> list[ArchivedImage]:
    """Return the images of a layout."""
    entries = read_descriptors(directory)
    return [ArchivedImage(_full(name_of(entry)), entry, True) for entry in entries]


def read_descriptors(directory: str) -> tuple[Descriptor, ...]:
    """Return what the index of a layout has; `BadManifest` if it cannot be read."""
    try:
        with open(f"{directory}/index.json", "rb") as file:
            raw = file.read(MANIFEST_LIMIT + 1)
    except OSError as error:
        raise BadManifest(f"cannot read the file: {error.strerror}", where="index.json") from error
    return Index.parse(raw, OCI_INDEX).manifests


def _full(name: str) -> str:
    # A tag alone has no repository: such an image is loaded without a name.
    return name if "/" in name or ":" in name else ""
