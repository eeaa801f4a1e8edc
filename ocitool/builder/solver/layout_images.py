"""Images in OCI image layouts that a build starts from or copies from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from ocitool.errors import BuildError, OcitoolError
from ocitool.image.archive.layout import DirectorySource, read_descriptors
from ocitool.image.arrival import reading
from ocitool.image.image import Image, image_of
from ocitool.image.store_content import StoreSink
from ocitool.oci.layout_reference import LayoutReference
from ocitool.oci.manifest import Descriptor, Index
from ocitool.oci.mediatypes import INDEXES
from ocitool.oci.platform import Platform
from ocitool.store.refs import REF_NAME
from ocitool.store.store import Store
from ocitool.suggestions import suggest


def layout_image(text: str, platform: Platform) -> Image:
    """Return the image that the reference *text* names, for *platform*.

    Raises:
        BuildError: the directory has no such image, or is no image layout.
    """
    reference = LayoutReference.parse(text)
    try:
        root = _chosen(reference, read_descriptors(reference.directory))
        image = image_of(DirectorySource(reference.directory, root), platform, name=text)
        _ = image.config
    except BuildError:
        raise
    except OcitoolError as error:
        raise BuildError(
            f"failed to read the image layout {reference.directory}: {error}",
            hint=error.hint or "an image layout is a directory with index.json and blobs",
        ) from error
    return image


def _chosen(reference: LayoutReference, found: Sequence[Descriptor]) -> Descriptor:
    if reference.digest is not None:
        for each in (*found, *_inner(reference.directory, found)):
            if each.digest == reference.digest:
                return each
        raise BuildError(
            f"the image layout {reference.directory} has no image with the digest"
            f" {reference.digest}",
            hint=f"it has {', '.join(str(each.digest) for each in found) or 'no images'}",
        )
    tag = reference.tag or "latest"
    tags = {_tag(each.annotations.get(REF_NAME, "")): each for each in found}
    if tag in tags:
        return tags[tag]
    if not reference.tag and len(found) == 1:
        return found[0]
    known = sorted(filter(None, tags))
    raise BuildError(
        f"the image layout {reference.directory} has no image of tag {tag!r}{suggest(tag, known)}",
        hint=f"it has {', '.join(known)}" if known else "it has no tags: name an image by @DIGEST",
    )


def _inner(directory: str, found: Sequence[Descriptor]) -> Iterator[Descriptor]:
    """Yield what the indexes among *found* have."""
    for each in found:
        if each.media_type in INDEXES:
            source = DirectorySource(directory, each)
            yield from Index.parse(source.fetch(each), each.media_type).manifests


def _tag(name: str) -> str:
    """Return the tag in a name of a layout, which is one itself, or the name of an image."""
    return name.rpartition("/")[2].rpartition(":")[2]


def store_layers(image: Image, store: Store) -> None:
    """Bring the layers of *image* into *store*, where they get no name, and verify them.

    Raises:
        DigestMismatch: a blob is corrupt.
        LayerError: a layer cannot be unpacked.
    """
    sink = StoreSink(store, "")
    prepare = reading(store)
    for number, layer in enumerate(image.layers, 1):
        sink.put_blob(layer.blob, partial(image.source.open, layer.blob))
        prepare(image.layers[:number], number - 1)
