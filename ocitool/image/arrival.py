"""An image that arrives in a store is verified while it is copied, and not only at its first use.

A pull and a load unpack the layers; where no driver works they are read, as a build does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from ocitool.errors import DriverUnavailable, FormatError, NotAnImage
from ocitool.image.image import layers_of
from ocitool.layer.compression.codecs import for_type
from ocitool.oci.config import ImageConfig
from ocitool.oci.manifest import Manifest
from ocitool.oci.mediatypes import CONFIGS
from ocitool.progress import SILENT, Notice, ProgressSink
from ocitool.store.layer_content import Layer, naming
from ocitool.store.store import Store

Prepare = Callable[[Sequence[Layer], int], object]
"""Verifies layers, whose blobs are in the store; so many of them, the lowest, it has verified."""


class Arrival:
    """Verifies the image *name* in *store*: its config, and its layers with *prepare* if given.

    An `ocitool.image.copy.Observer`.
    """

    def __init__(self, store: Store, name: str, prepare: Prepare | None) -> None:
        self._store = store
        self._name = name
        self._prepare = prepare

    def has_config(self, manifest: Manifest) -> None:
        """Refuse an artifact, and layers that cannot be unpacked by their media type.

        Raises:
            NotAnImage: the config is not that of an image.
            BadManifest: config and manifest have different numbers of layers.
            UnsupportedEntry: the media type of a layer is not supported.
        """
        for layer in self._layers(manifest):
            with naming(layer):
                for_type(layer.blob.media_type)

    def copies(self, manifest: Manifest, blobs: Sequence[Future[str]]) -> None:
        """Prepare the layers one by one, each as soon as its blob is in the store.

        Raises:
            LayerError: a layer cannot be unpacked.
            DigestMismatch: it is not what its diff ID says.
        """
        if self._prepare is None:
            return
        layers = self._layers(manifest)
        verified = 0
        for count, blob in enumerate(blobs, 1):
            blob.result()
            if count == len(blobs) or not blobs[count].done():  # together what is there together
                self._prepare(layers[:count], verified)
                verified = count

    def _layers(self, manifest: Manifest) -> tuple[Layer, ...]:
        try:
            config = ImageConfig.parse(self._store.blobs.read(manifest.config))
        except FormatError as error:
            kind = manifest.artifact_type or manifest.config.media_type
            if kind in CONFIGS and error.where != "rootfs":
                error.where = f"{self._name}: config: {error.where}"
                raise
            raise NotAnImage(
                f"not an image but an artifact of type {kind!r}: its config has no layers",
                where=self._name,
            ) from error
        return layers_of(config, manifest, self._name)


def unpacking(store: Store, progress: ProgressSink = SILENT) -> Prepare:
    """Return what unpacks layers; where no driver works they are only read, with a notice."""
    try:
        store.driver()
    except DriverUnavailable as error:
        progress.emit(Notice(text=f"layers are not unpacked: {error.message}", level="info"))
        return reading(store)
    return lambda layers, _: store.layers.ensure(layers, progress)


def reading(store: Store) -> Prepare:
    """Return what reads layers, and keeps their indexes."""
    return lambda layers, verified: [store.layers.index(layer) for layer in layers[verified:]]
