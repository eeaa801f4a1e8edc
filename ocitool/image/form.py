"""The form of an image that is written: its layers' compression, its documents' media types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ocitool.errors import FormatError
from ocitool.image.compress import Compression, recompress
from ocitool.image.image import Image
from ocitool.image.store_content import StoreSource
from ocitool.oci.manifest import Descriptor, Manifest
from ocitool.oci.mediatypes import DOCKER_CONFIG, DOCKER_MANIFEST, as_docker
from ocitool.progress import ProgressSink

if TYPE_CHECKING:
    from ocitool.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What is asked for; fields that are None or ``""`` leave the image as it is."""

    compression: str = ""  # NAME or NAME:LEVEL, as `Compression.parse` takes it
    force: bool | None = None  # whether the base image's layers get that compression, too
    docker: bool | None = None  # whether media types are docker's, or else OCI's
    rewrite_timestamp: bool | None = None  # whether the epoch bounds the times of new files

    def over(self, other: Form) -> Form:
        """Return this form, with what it does not say taken from *other*."""
        return Form(
            compression=self.compression or other.compression,
            force=other.force if self.force is None else self.force,
            docker=other.docker if self.docker is None else self.docker,
            rewrite_timestamp=other.rewrite_timestamp
            if self.rewrite_timestamp is None
            else self.rewrite_timestamp,
        )

    def check(self) -> None:
        """Raise `FormatError` if no image can have this form."""
        if not self.compression:
            return
        codec = Compression.parse(self.compression).codec
        if self.docker and codec.name not in ("gzip", "none"):
            raise FormatError(
                f"docker's media types do not support layers compressed with {codec.name}",
                hint="use OCI's media types, or gzip",
            )


def converted(
    store: Store,
    image: Image,
    form: Form,
    *,
    base: int,
    annotations: Mapping[str, str] | None,
    progress: ProgressSink,
) -> Image:
    """Return *image*, which is in *store*, in *form* and with more *annotations*.

    *base* is the number of layers, from the lowest up, that only ``force`` compresses.

    Raises:
        FormatError: it has annotations or layers that docker's media types cannot express.
    """
    form.check()
    if form.compression:
        kept = 0 if form.force else base
        image = recompress(store, image, Compression.parse(form.compression), progress, keep=kept)
    old = image.manifest
    merged = {**old.annotations, **(annotations or {})}
    if form.docker:
        manifest = _docker(old, merged)
    elif merged != old.annotations:
        manifest = Manifest.new(old.config, old.layers, annotations=merged)
    else:
        return image
    store.blobs.put(manifest.raw, store.lease())
    descriptor = replace(manifest.descriptor, platform=image.descriptor.platform)
    return Image(StoreSource(store, descriptor), descriptor)


def _docker(old: Manifest, annotations: Mapping[str, str]) -> Manifest:
    if annotations:
        raise FormatError(
            "docker's media types do not support annotations: " + ", ".join(sorted(annotations)),
            hint="use OCI's media types, or a label",
        )
    layers = [
        Descriptor(media_type=as_docker(each.media_type), digest=each.digest, size=each.size)
        for each in old.layers
    ]
    config = replace(old.config, media_type=DOCKER_CONFIG)
    return Manifest.new(config, layers, media_type=DOCKER_MANIFEST)
