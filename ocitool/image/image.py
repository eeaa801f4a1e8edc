"""Image: a lazy, immutable view of one image in a store, registry or archive."""

from __future__ import annotations

from functools import cached_property

from ocitool.errors import BadManifest, ImageNotFound
from ocitool.oci import limits
from ocitool.oci.config import ImageConfig
from ocitool.oci.content import ContentSource
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor, Index, Manifest, parse_any
from ocitool.oci.platform import Platform, best, this_platform
from ocitool.store.layer_content import Layer


class Image:
    """One image for one platform.  Documents are fetched when they are first needed.

    ``descriptor`` is that of its manifest, and ``name`` what errors call it.
    """

    def __init__(self, source: ContentSource, descriptor: Descriptor, name: str = "") -> None:
        self.source = source
        self.descriptor = descriptor
        self.name = name

    @property
    def digest(self) -> Digest:
        """The digest of the manifest: the image's digest in a registry."""
        return self.descriptor.digest

    @property
    def id(self) -> Digest:
        """The digest of the config: the image ID of docker."""
        return self.manifest.config.digest

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest; `BadManifest` if the document is something else."""
        limits.require_document(self.descriptor)
        raw = self.source.fetch(self.descriptor)
        manifest = Manifest.parse(raw, self.descriptor.media_type)
        limits.require_parts(manifest)
        return manifest

    @cached_property
    def config(self) -> ImageConfig:
        """The configuration."""
        return ImageConfig.parse(self.source.fetch(self.manifest.config))

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, lowest first; `BadManifest` if config and manifest have different numbers."""
        return layers_of(self.config, self.manifest, self.name or str(self.digest))

    @property
    def size(self) -> int:
        """Bytes of the manifest and of all its blobs."""
        parts = (self.manifest.config, *self.manifest.layers)
        return self.descriptor.size + sum(part.size for part in parts)


def layers_of(config: ImageConfig, manifest: Manifest, name: str) -> tuple[Layer, ...]:
    """Return the layers of the image *name*; `BadManifest` if the two have different numbers."""
    diff_ids, blobs = config.diff_ids, manifest.layers
    if len(diff_ids) != len(blobs):
        raise BadManifest(
            f"the config names {len(diff_ids)} layers, and the manifest {len(blobs)}", where=name
        )
    return tuple(
        Layer(diff_id=diff_id, blob=blob, place=f"layer {number} of {name}")
        for number, (diff_id, blob) in enumerate(zip(diff_ids, blobs, strict=True), 1)
    )


def image_of(source: ContentSource, platform: Platform | None = None, *, name: str = "") -> Image:
    """Return the image that *source* stands for; of an index the one for *platform*.

    *platform* is this machine's by default; *name* is what errors call the image.

    Raises:
        ImageNotFound: the index has no image for that platform.
    """
    root = source.resolve()
    limits.require_document(root)
    document = parse_any(source.fetch(root), root.media_type)
    if isinstance(document, Manifest):
        return Image(source, document.descriptor, name)
    return Image(source, choose(document, platform or this_platform()), name)


def require_platform(image: Image, wanted: Platform, name: str) -> None:
    """Refuse an image whose config says another platform than *wanted*; `ImageNotFound`."""
    actual = image.config.platform
    if not wanted.accepts(actual):
        raise ImageNotFound(
            f"image {name} was found but does not match the specified platform:"
            f" wanted {wanted}, actual {actual}"
        )


def choose(index: Index, platform: Platform) -> Descriptor:
    """Return the entry of *index* that fits *platform* best; `ImageNotFound` without one."""
    offers = [entry.platform for entry in index.manifests]
    at = best(platform, offers)
    if at is None and len(index.manifests) == 1 and offers[0] is None:
        at = 0  # an index with one image that does not say its platform
    if at is None:
        there = ", ".join(str(offer) for offer in offers if offer and offer.os != "unknown")
        raise ImageNotFound(
            f"no image for platform {platform}", hint=f"available: {there or 'none'}"
        )
    return index.manifests[at]
