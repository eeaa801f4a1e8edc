"""Compressing layers: a step's when an image first has it, all of an image's when a push asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

from ocitool import plugins
from ocitool.errors import FormatError, LayerError, PluginError
from ocitool.image.image import Image
from ocitool.image.store_content import StoreSource
from ocitool.oci.config import ImageConfig
from ocitool.oci.manifest import Descriptor
from ocitool.oci.mediatypes import (
    CONFIGS,
    NONDISTRIBUTABLE,
    OCI_CONFIG,
    as_oci,
    codec_of,
    layer_type,
)
from ocitool.progress import SILENT, Notice, ProgressSink
from ocitool.store.layer_content import Layer

if TYPE_CHECKING:
    from ocitool.layer.codec import Codec
    from ocitool.store.store import Store

_DEFAULT: Final = "gzip"
#: What docker, podman and BuildKit call the codec "none".
_UNCOMPRESSED: Final = "uncompressed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """A codec and its level; ``exact`` if that level was asked for."""

    codec: Codec
    level: int
    exact: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``NAME`` or ``NAME:LEVEL``: gzip, zstd, estargz, uncompressed, a plugin's codec.

        Raises:
            FormatError: there is no such codec, or it does not have the level.
        """
        if text == "zstd:chunked":
            raise FormatError("layers can be read as zstd:chunked, not written", hint="use zstd")
        name, colon, level = text.partition(":")
        codec = _codec(name)
        if not colon:
            return cls(codec=codec, level=codec.level)
        if name == _UNCOMPRESSED or not (level.isascii() and level.isdigit() and len(level) < 4):
            why = "a level cannot be given" if name == _UNCOMPRESSED else "expected a number"
            raise FormatError(f"invalid compression level {level!r} for {name}: {why}")
        try:
            codec.compressor(int(level))
        except LayerError as error:
            raise FormatError(str(error), hint=error.hint) from error
        return cls(codec=codec, level=int(level), exact=True)

    @property
    def text(self) -> str:
        """The codec and level, as the store records them."""
        return f"{self.codec.name}:{self.level}"

    def has(self, blob: Descriptor) -> bool:
        """Say whether the blob of a layer has this form, at whatever level."""
        from ocitool.layer.compression.codecs import for_type
        from ocitool.layer.compression.toc import DIGEST_ANNOTATION

        if for_type(blob.media_type).name != self.codec.suffix:
            return False
        if self.codec.name == self.codec.suffix:
            return True
        # eStargz is gzip with a table of contents, which only an annotation shows.
        return self.codec.name == "estargz" and DIGEST_ANNOTATION in blob.annotations


def _codec(name: str) -> Codec:
    try:
        codec: Codec = plugins.lookup("ocitool.codecs", "none" if name == _UNCOMPRESSED else name)
    except PluginError as error:
        if name in plugins.names("ocitool.codecs"):
            raise  # it is installed, and cannot be loaded
        known = ", ".join(each for each in plugins.names("ocitool.codecs") if each != "none")
        raise FormatError(
            f"unsupported compression {name!r}", hint=f"supported: {known}, {_UNCOMPRESSED}"
        ) from error
    return codec


def compressed(store: Store, layer: Layer, progress: ProgressSink = SILENT) -> Layer:
    """Return *layer* with a compressed blob: its own, one that was made before, or a new one."""
    if codec_of(layer.blob.media_type) != "none":
        return layer
    return _with_form(store, layer, Compression.parse(_DEFAULT), progress)


def recompress(
    store: Store,
    image: Image,
    compression: Compression,
    progress: ProgressSink = SILENT,
    *,
    keep: int = 0,
) -> Image:
    """Return *image*, which is in *store*, with its layers in the form *compression*.

    The lowest *keep* layers stay as they are.

    A layer that has this form is kept; but where a level was asked for, only if it is known to
    have been compressed at that level, or is eStargz.  Layers that may not be distributed are
    kept, too.  If all are kept, *image* is returned.  Otherwise its config and manifest are
    replaced: by OCI's media types, with all other fields.  eStargz adds files to a layer, so with
    it the diff IDs change, and the image's ID.

    Raises:
        FormatError: it is an artifact, which has no file-system layers.
        StoreError: the store is read-only, or its disk is full.
    """
    old = image.manifest
    if old.config.media_type not in CONFIGS:
        kind = old.artifact_type or old.config.media_type
        raise FormatError(f"cannot compress the layers of an artifact of type {kind!r}")
    new = image.layers[keep:]
    made = {layer: _recompressed(store, layer, compression, progress) for layer in new}
    layers = [*image.layers[:keep], *(made[layer] for layer in new)]
    if layers == list(image.layers):
        return image
    manifest = old.with_parts(
        _config(store, image, layers),
        [replace(each.blob, media_type=as_oci(each.blob.media_type)) for each in layers],
    )
    store.blobs.put(manifest.raw, store.lease())
    descriptor = replace(manifest.descriptor, platform=image.descriptor.platform)
    return Image(StoreSource(store, descriptor), descriptor)


def _config(store: Store, image: Image, layers: list[Layer]) -> Descriptor:
    diff_ids = tuple(layer.diff_id for layer in layers)
    if diff_ids == image.config.diff_ids:
        return replace(image.manifest.config, media_type=OCI_CONFIG)
    raw = ImageConfig.dump(replace(image.config, diff_ids=diff_ids))
    digest = store.blobs.put(raw, store.lease())
    return Descriptor(media_type=OCI_CONFIG, digest=digest, size=len(raw))


def _recompressed(store: Store, layer: Layer, wanted: Compression, progress: ProgressSink) -> Layer:
    blob = layer.blob
    if blob.media_type in NONDISTRIBUTABLE:
        return layer
    # An eStargz layer cannot be made of one: it has the files that would be added already.
    any_level = not wanted.exact or wanted.codec.name == "estargz"
    if wanted.has(blob) and (any_level or _is_recorded(store, layer, wanted)):
        return layer
    store.layout.require_writable()
    return _with_form(store, layer, wanted, progress)


def _is_recorded(store: Store, layer: Layer, wanted: Compression) -> bool:
    return layer.blob.digest in store.blob_records.compressed(layer.diff_id, wanted.text)


def _with_form(store: Store, layer: Layer, wanted: Compression, progress: ProgressSink) -> Layer:
    """Return *layer* with a blob of the form *wanted*: one that was made before, or a new one."""
    known = _known(store, layer, wanted)
    if known is not None:
        return known
    how = "decompressing" if wanted.codec.name == "none" else "compressing"
    progress.emit(Notice(text=f"{how} layer {layer.diff_id.short} ({wanted.codec.name})"))
    return _compress(store, layer, wanted)


def _known(store: Store, layer: Layer, wanted: Compression) -> Layer | None:
    for digest in store.blob_records.compressed(layer.diff_id, wanted.text):
        size = store.blobs.size(digest)
        if size is None:
            continue
        media_type = layer_type(wanted.codec.suffix)
        blob = Descriptor(media_type=media_type, digest=digest, size=size)
        if store.blobs.claim(blob):
            return Layer(diff_id=layer.diff_id, blob=blob)
    return None


def _compress(store: Store, layer: Layer, wanted: Compression) -> Layer:
    from ocitool.layer.codec import CHUNK

    def write(sink: Callable[[bytes], object]) -> None:
        tar = store.layers.open(layer)
        try:
            while data := tar.read(CHUNK):
                sink(data)
        finally:
            tar.close()

    return store.layers.pack(write, wanted.text)
