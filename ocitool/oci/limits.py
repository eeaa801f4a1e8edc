"""Limits of an image: the size of its documents and the number of its parts.

A descriptor that exceeds them is refused before anything is fetched.  That no more is read than the
descriptor says is checked by `ocitool.oci.streams.VerifiedReader`.  Limits of the registry protocol
are in `ocitool_registry.limits`.
"""

from __future__ import annotations

from typing import Final

from ocitool.errors import BadManifest
from ocitool.oci.manifest import MANIFEST_LIMIT, Descriptor, Index, Manifest

CONFIG: Final = 4 * 1024 * 1024  # bytes
LAYERS: Final = 500  # of one image; overlayfs has the same limit
MANIFESTS: Final = 1000  # of one index, and of all indexes that are copied together


def require_document(document: Descriptor, image: str = "") -> None:
    """Refuse a manifest or an index that is too large by its descriptor; `BadManifest`."""
    _require_size(document, "manifest", MANIFEST_LIMIT, image)


def require_config(config: Descriptor, image: str) -> None:
    """Refuse a config that is too large by its descriptor; `BadManifest`."""
    _require_size(config, "config", CONFIG, image)


def require_parts(manifest: Manifest, image: str = "") -> None:
    """Refuse an image with a config that is too large, or too many layers; `BadManifest`."""
    require_config(manifest.config, image)
    _require_count(manifest, len(manifest.layers), "layers", LAYERS, image)


def require_manifests(index: Index, image: str) -> None:
    """Refuse an index of too many manifests; `BadManifest`."""
    _require_count(index, len(index.manifests), "manifests", MANIFESTS, image)


def _require_size(part: Descriptor, kind: str, limit: int, image: str) -> None:
    if part.size > limit:
        raise BadManifest(
            f"the {kind} {part.digest} has {part.size} bytes, and the limit is {limit}", where=image
        )


def _require_count(
    document: Manifest | Index, count: int, parts: str, limit: int, image: str
) -> None:
    if count > limit:
        raise BadManifest(
            f"{document.descriptor.digest} has {count} {parts}, and the limit is {limit}",
            where=image,
        )
