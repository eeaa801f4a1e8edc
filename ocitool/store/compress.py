"""Layers as they leave the store: a step's layer is compressed when an image first has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ocitool.oci.mediatypes import codec_of, layer_type
from ocitool.progress import SILENT, Notice, ProgressSink
from ocitool.store.layer_content import Layer

if TYPE_CHECKING:
    from ocitool.store.store import Store

_CODEC: Final = "gzip"


def compressed(store: Store, layer: Layer, progress: ProgressSink = SILENT) -> Layer:
    """Return *layer* with a compressed blob: its own, one that was made before, or a new one."""
    if codec_of(layer.blob.media_type) != "none":
        return layer
    known = _known(store, layer)
    if known is None:
        progress.emit(Notice(text=f"layer {layer.diff_id.short} is compressed for the image"))
    return known or _compress(store, layer)


def _known(store: Store, layer: Layer) -> Layer | None:
    from ocitool.layer.compression.codecs import parse

    codec, level = parse(_CODEC)
    for digest in store.blob_records.compressed(layer.diff_id, f"{codec.name}:{level}"):
        size = store.blobs.size(digest)
        if size is None:
            continue
        blob = replace(layer.blob, media_type=layer_type(_CODEC), digest=digest, size=size)
        if store.blobs.claim(blob):
            return Layer(diff_id=layer.diff_id, blob=blob)
    return None


def _compress(store: Store, layer: Layer) -> Layer:
    from ocitool.layer.codec import CHUNK

    def write(sink: Callable[[bytes], object]) -> None:
        tar = store.layers.open(layer)
        try:
            while data := tar.read(CHUNK):
                sink(data)
        finally:
            tar.close()

    return store.layers.pack(write, _CODEC)
