"""From the end of a stage to an image: config, manifest, name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ocitool.builder.solver.cache import key_of
from ocitool.errors import BuildError
from ocitool.image.compress import compressed
from ocitool.image.image import Image
from ocitool.oci.config import History, ImageConfig, RunConfig
from ocitool.oci.digest import Digest
from ocitool.oci.limits import CONFIG
from ocitool.oci.manifest import Descriptor, Manifest
from ocitool.oci.mediatypes import OCI_CONFIG, OCI_MANIFEST, codec_of, layer_type
from ocitool.oci.platform import Platform
from ocitool.oci.reference import Reference
from ocitool.oci.timestamps import timestamp
from ocitool.progress import SILENT, ProgressSink
from ocitool.store.build_cache import ImageRecord
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store

COMMENT = "ocitool.dockerfile.v0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One entry of the history to be; ``created`` is known for those that made a layer."""

    created_by: str
    layer: Layer | None = None
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Everything that a finished stage is."""

    base: Image | None  # None: scratch
    platform: Platform
    run: RunConfig
    layers: tuple[Layer, ...]  # with those of the base
    steps: tuple[Step, ...]  # since the base
    author: str = ""


def commit(
    store: Store,
    product: Product,
    *,
    epoch: int | None,
    fresh: bool = False,
    progress: ProgressSink = SILENT,
) -> tuple[Descriptor, Digest]:
    """Store config and manifest of *product*; returns the manifest and the image's id.

    An image that was made of the same things before is given back as it is, dates included: a
    build in which nothing changed ends with the digest it ended with before.  With *fresh* its
    dates are new.
    """
    layers = [_blob(layer) for layer in _leaving(store, product, progress)]
    key = _key(product, layers, epoch)
    # Two builds of the same at once give one image: the second finds that of the first.
    with store.layout.work_lock("step", key):
        known = None if fresh else store.build_cache.image(key)
        if known is None or not all(map(store.blobs.claim, (known.manifest, known.config))):
            known = _write(store, product, layers, key, epoch)
    return replace(known.manifest, platform=product.platform), known.config.digest


def _write(
    store: Store, product: Product, layers: Sequence[Descriptor], key: str, epoch: int | None
) -> ImageRecord:
    config = _config(product, timestamp(epoch)).dump()
    if len(config) > CONFIG:
        raise BuildError(
            f"the image's config has {len(config)} bytes, more than {CONFIG}",
            hint="use fewer or shorter labels, variables and commands",
        )
    config_blob = Descriptor(
        media_type=OCI_CONFIG, digest=store.blobs.put(config, store.lease()), size=len(config)
    )
    manifest = Manifest.new(config_blob, layers, media_type=OCI_MANIFEST)
    store.blobs.put(manifest.raw, store.lease())
    record = ImageRecord(manifest=manifest.descriptor, config=config_blob)
    store.build_cache.put_image(key, record)
    return record


def _leaving(store: Store, product: Product, progress: ProgressSink) -> tuple[Layer, ...]:
    """Return the layers, those since the base compressed; a base's blobs stay what they are."""
    count = len(product.base.layers) if product.base is not None else 0
    made = (compressed(store, layer, progress) for layer in product.layers[count:])
    return (*product.layers[:count], *made)


def name(store: Store, descriptor: Descriptor, tags: Sequence[str]) -> tuple[str, ...]:
    """Point *tags* to the image; without any it is kept without a name."""
    names = tuple(str(Reference.parse(tag)) for tag in tags)
    for each in names or ("",):
        store.refs.set(each, descriptor)
    return names


def _blob(layer: Layer) -> Descriptor:
    """Return the layer's blob with OCI's media type, which the base may have had from docker."""
    media_type = layer_type(codec_of(layer.blob.media_type))
    return Descriptor(media_type=media_type, digest=layer.blob.digest, size=layer.blob.size)


def _key(product: Product, layers: Sequence[Descriptor], epoch: int | None) -> str:
    undated = _config(product, "").dump().decode("utf-8", "surrogateescape")
    return key_of("image", undated, [str(layer.digest) for layer in layers], epoch)


def _config(product: Product, created: str) -> ImageConfig:
    history = [
        History(
            created=step.created if step.layer is not None else created,
            created_by=step.created_by,
            comment=COMMENT,
            empty_layer=step.layer is None,
        )
        for step in product.steps
    ]
    old = product.base.config if product.base is not None else None
    return ImageConfig(
        platform=product.platform,
        created=created,
        author=product.author or (old.author if old is not None else ""),
        run=product.run,
        diff_ids=tuple(layer.diff_id for layer in product.layers),
        history=(*_base_history(old), *history),
        unknown=_kept(old),
    )


def _base_history(old: ImageConfig | None) -> tuple[History, ...]:
    if old is None:
        return ()
    # Every layer must have its entry, or readers count wrong; some bases come without a history.
    told = sum(not entry.empty_layer for entry in old.history)
    missing = len(old.diff_ids) - told
    return (*(History(comment="imported"),) * max(missing, 0), *old.history)


def _kept(old: ImageConfig | None) -> dict[str, object]:
    # Docker's old bookkeeping describes the container that made the base, not this image.
    dropped = {"container", "container_config", "docker_version", "id", "parent", "Size"}
    fields = {} if old is None else old.unknown
    return {name: value for name, value in fields.items() if name not in dropped}
