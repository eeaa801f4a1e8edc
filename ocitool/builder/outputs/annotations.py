"""Annotations by what they are for: ``[KIND[,KIND...][[PLATFORM]]:]KEY``.

Source: docker buildx build --annotation; BuildKit, exporter/containerimage/exptypes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ocitool.errors import FormatError
from ocitool.oci.platform import Platform

_KINDS: Final = ("manifest", "index", "manifest-descriptor", "index-descriptor")
_PREFIX: Final = re.compile(r"([a-z,-]+)(?:\[([^\]]*)\])?:(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """Annotations of the manifest, and of the descriptor that names it in a layout."""

    manifest: Mapping[str, str] = field(default_factory=dict, hash=False)
    descriptor: Mapping[str, str] = field(default_factory=dict, hash=False)


def select(annotations: Mapping[str, str], platform: Platform) -> Annotations:
    """Return those of *annotations* that an image for *platform* gets.

    Raises:
        FormatError: one is for an index, and an image of one platform has none.
    """
    manifest, descriptor = {}, {}
    for text, value in annotations.items():
        kinds, wanted, key = split_key(text)
        if wanted is not None and wanted != platform:
            continue
        if "manifest" in kinds:
            manifest[key] = value
        if "manifest-descriptor" in kinds:
            descriptor[key] = value
    return Annotations(manifest=manifest, descriptor=descriptor)


def split_key(text: str) -> tuple[tuple[str, ...], Platform | None, str]:
    """Return the kinds of an annotation, its platform (None for any), and its key.

    What stands before a colon and is no kind belongs to the key.
    """
    found = _PREFIX.fullmatch(text)
    kinds = tuple(found[1].split(",")) if found else ()
    if found is None or not set(kinds) <= set(_KINDS):
        return ("manifest",), None, text
    if not found[3]:
        raise FormatError(f"invalid annotation {text!r}: the key is empty")
    for kind in kinds:
        if kind.startswith("index"):
            raise FormatError(
                f"index annotations are not supported for a single platform export: {text}",
                hint="annotate the manifest, or its descriptor in an OCI layout: "
                f"manifest:{found[3]}, manifest-descriptor:{found[3]}",
            )
    return kinds, Platform.parse(found[2]) if found[2] else None, found[3]
