"""From a solved definition to an image: config and manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from ocitool.builder.definition import Definition, HistoryEntry
from ocitool.builder.solver.cache import Cache
from ocitool.builder.solver.keys import key_of
from ocitool.builder.solver.solver import Solution
from ocitool.errors import BuildError
from ocitool.image.compress import compressed
from ocitool.oci.config import History, ImageConfig
from ocitool.oci.digest import Digest
from ocitool.oci.limits import CONFIG
from ocitool.oci.manifest import Descriptor, Manifest
from ocitool.oci.mediatypes import OCI_CONFIG, OCI_MANIFEST, codec_of, is_layer, layer_type
from ocitool.oci.platform import Platform
from ocitool.oci.timestamps import timestamp
from ocitool.progress import SILENT, ProgressSink
from ocitool.store.database.build_cache import ImageRecord, StepRecord
from ocitool.store.layer_content import Layer
from ocitool.store.store import Store

#: The time of creation (image-spec, annotations.md, "Pre-Defined Annotation Keys").
CREATED: Final = "org.opencontainers.image.created"
COMMENT = "ocitool.dockerfile.v0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the layers of the steps become the layers of the image."""

    squash: bool = False  # all into one, on those of the base image,
    squash_base: bool = False  # and that into it
    timestamp: int | None = None  # of all files in them, seconds since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """An image in the store."""

    manifest: Descriptor
    id: Digest
    base: int  # how many of its layers are those of the base image
    platform: Platform


def commit(
    store: Store,
    definition: Definition,
    solution: Solution,
    *,
    shape: Shape,
    cache: Cache,
    fresh: bool = False,
    compress: bool = True,
    progress: ProgressSink = SILENT,
) -> Committed:
    """Store config and manifest of an image.

    An image that was made of the same inputs before is returned as it is, dates included: a
    build in which nothing changed ends with the digest it ended with before.  With *fresh* its
    dates are new.  Without *compress* its layers stay as they are: only its files are of use.
    """
    base = definition.image.base
    below = 0 if base is None or shape.squash_base else len(base.diff_ids)
    shaped = _shaped(store, solution.layers, below, shape, cache)
    squash = len(shaped) < len(solution.layers)
    solved = replace(solution, layers=shaped)
    exported = _exported(store, solved, below, progress) if compress else shaped
    layers = [_blob(layer) for layer in exported]
    describe = partial(image_config, definition, solved, squash=squash)
    key = _key(describe(""), definition, layers)
    # Of two equal builds at the same time the second finds the image of the first.
    with store.layout.work_lock("step", key):
        known = None if fresh else store.build_cache.image(key)
        if known is None or not all(map(store.blobs.claim, (known.manifest, known.config))):
            created = timestamp(definition.epoch)
            config = describe(created).dump()
            known = _write(store, config, layers, _annotations(definition, created), key)
    platform = definition.image.platform
    return Committed(
        manifest=replace(known.manifest, platform=platform),
        id=known.config.digest,
        base=below,
        platform=platform,
    )


def _shaped(
    store: Store, layers: tuple[Layer, ...], base: int, shape: Shape, cache: Cache
) -> tuple[Layer, ...]:
    squash = (shape.squash or shape.squash_base) and len(layers) - base > 1
    if not squash and shape.timestamp is None:
        return layers
    from ocitool.builder.commit.squash import retimed, squashed

    created = timestamp(shape.timestamp)
    if squash:
        layers = squashed(store, layers, base, cache=cache, created=created)
    if shape.timestamp is not None:
        epoch = shape.timestamp
        layers = retimed(store, layers, base, epoch, cache=cache, created=created)
    return layers


def _write(
    store: Store,
    config: bytes,
    layers: Sequence[Descriptor],
    annotations: Mapping[str, str],
    key: str,
) -> ImageRecord:
    if len(config) > CONFIG:
        raise BuildError(
            f"the image's config has {len(config)} bytes, more than {CONFIG}",
            hint="use fewer or shorter labels, variables and commands",
        )
    config_blob = Descriptor(
        media_type=OCI_CONFIG, digest=store.blobs.put(config, store.lease()), size=len(config)
    )
    manifest = Manifest.new(config_blob, layers, annotations=annotations, media_type=OCI_MANIFEST)
    store.blobs.put(manifest.raw, store.lease())
    record = ImageRecord(manifest=manifest.descriptor, config=config_blob)
    store.build_cache.put_image(key, record)
    return record


def _annotations(definition: Definition, created: str) -> Mapping[str, str]:
    annotations = definition.image.annotations
    return {CREATED: created, **annotations} if definition.image.created_annotation else annotations


def _exported(
    store: Store, solution: Solution, base: int, progress: ProgressSink
) -> tuple[Layer, ...]:
    """Return the layers, those since the *base* compressed; a base's blobs stay what they are."""
    made = (compressed(store, layer, progress) for layer in solution.layers[base:])
    return (*solution.layers[:base], *made)


def _blob(layer: Layer) -> Descriptor:
    """Return the layer's blob with OCI's media type, which the base may have had from docker.

    The type of a plugin's codec stays as it is.
    """
    media_type = layer.blob.media_type
    if is_layer(media_type):
        media_type = layer_type(codec_of(media_type))
    return Descriptor(media_type=media_type, digest=layer.blob.digest, size=layer.blob.size)


def _key(config: ImageConfig, definition: Definition, layers: Sequence[Descriptor]) -> str:
    undated = config.dump().decode("utf-8", "surrogateescape")
    digests = [str(layer.digest) for layer in layers]
    annotations = _annotations(definition, "")
    more = (dict(annotations),) if annotations else ()  # keys without any are older than they are
    return key_of("image", undated, digests, definition.epoch, *more)


def image_config(
    definition: Definition, solution: Solution, created: str, *, squash: bool = False
) -> ImageConfig:
    """Return the image's configuration; *created* is the time of what has no other.

    With *squash* the layer on top holds those of all steps.
    """
    image, base = definition.image, definition.image.base
    made = (_history(entry, solution.records, created) for entry in image.history)
    history = (*(() if base is None else base.aligned_history), *made)
    if squash:
        history = _squashed(history, len(solution.layers) - 1, created)
    return ImageConfig(
        platform=image.platform,
        created=created,
        author=image.author or (base.author if base is not None else ""),
        run=image.run,
        diff_ids=tuple(layer.diff_id for layer in solution.layers),
        history=() if image.omit_history else history,
        unknown=_kept(base),
    )


def _history(entry: HistoryEntry, records: Mapping[int, StepRecord], created: str) -> History:
    """Return an entry with the time at which its layer was made, else *created*."""
    record = None if entry.vertex is None else records[entry.vertex]
    return History(
        created=created if record is None else record.created,
        created_by=entry.created_by,
        comment=COMMENT,
        empty_layer=record is None,
    )


def _squashed(history: Sequence[History], kept: int, created: str) -> tuple[History, ...]:
    """Return *history* with no layer above the lowest *kept*, and an entry for that of them all.

    Source: docker build --squash.
    """
    entries, merged = [], 0
    for entry in history:
        if not entry.empty_layer:
            if kept:
                kept -= 1
            else:
                entry, merged = replace(entry, empty_layer=True), merged + 1
        entries.append(entry)
    return (*entries, History(created=created, comment=f"squashed {merged} layers"))


def _kept(old: ImageConfig | None) -> dict[str, object]:
    # Docker's old fields describe the container that made the base, not this image.
    dropped = {"container", "container_config", "docker_version", "id", "parent", "Size"}
    fields = {} if old is None else old.unknown
    return {name: value for name, value in fields.items() if name not in dropped}
