"""A layer as a value, and what layers are called in a driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocitool.oci.config import chain_id
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of an image: the digest of its plain tar, and the blob that holds it."""

    diff_id: Digest
    blob: Descriptor


def layer_names(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Return the names of *layers* in a driver: their chain ids' digits, lowest first."""
    names: list[str] = []
    chain: Digest | None = None
    for layer in layers:
        chain = layer.diff_id if chain is None else chain_id((chain, layer.diff_id))
        names.append(chain.encoded)
    return tuple(names)
