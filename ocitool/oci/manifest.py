"""Descriptors, manifests and indexes: parsed once, the raw bytes kept.

A digest is always that of the bytes received, never of a new serialisation.  Unknown fields are
kept, because the bytes are.

Source: OCI image-spec v1.1, descriptor.md, manifest.md, image-index.md.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from ocitool.errors import BadManifest
from ocitool.oci import mediatypes
from ocitool.oci._json import object_list, optional, parse_object, required, string_list, string_map
from ocitool.oci.digest import Digest
from ocitool.oci.platform import Platform

#: Registries must take manifests of 4 MiB (distribution-spec, "Pushing Manifests"); none is
#: known to take more.
MANIFEST_LIMIT: Final = 4 * 1024 * 1024  # bytes of a manifest or an index

_TYPES: Final = mediatypes.INDEXES | mediatypes.MANIFESTS | mediatypes.DOCKER_SCHEMA1
_INDEX_FIELDS: Final = ("manifests",)
_MANIFEST_FIELDS: Final = ("config", "layers")
_KNOWN: Final = frozenset(
    {"mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Type, digest and size of content that is kept elsewhere."""

    media_type: str
    digest: Digest
    size: int  # bytes
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    artifact_type: str = ""
    urls: tuple[str, ...] = ()
    data: bytes | None = None  # the embedded content; verified
    unknown: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], where: str = "") -> Self:
        """Read one descriptor; the errors' ``where`` is as ``layers[2].size``."""
        size = required(fields, "size", int, where)
        if not 0 <= size < 1 << 63:
            raise BadManifest("size must be between 0 and 2^63", where=f"{where}.size")
        platform = optional(fields, "platform", dict, {}, where)
        digest = Digest.parse(required(fields, "digest", str, where), where=f"{where}.digest")
        return cls(
            media_type=mediatypes.bare(required(fields, "mediaType", str, where)),
            digest=digest,
            size=size,
            annotations=string_map(fields, "annotations", where),
            platform=Platform.from_json(platform, f"{where}.platform") if platform else None,
            artifact_type=optional(fields, "artifactType", str, "", where),
            urls=string_list(fields, "urls", where),
            data=_embedded(fields, digest, size, where),
            unknown={name: value for name, value in fields.items() if name not in _KNOWN},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object, absent fields left out."""
        fields: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.urls:
            fields["urls"] = list(self.urls)
        if self.annotations:
            fields["annotations"] = dict(self.annotations)
        if self.data is not None:
            fields["data"] = base64.b64encode(self.data).decode()
        if self.platform is not None:
            fields["platform"] = self.platform.to_json()
        if self.artifact_type:
            fields["artifactType"] = self.artifact_type
        return {**fields, **self.unknown}

    def annotated(self, **annotations: str) -> Self:
        """Return this descriptor with *annotations* added (full keys)."""
        return replace(self, annotations={**self.annotations, **annotations})


def _embedded(fields: Mapping[str, Any], digest: Digest, size: int, where: str) -> bytes | None:
    text = optional(fields, "data", str, "", where)
    if not text and not (size == 0 and "data" in fields):
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadManifest(f"invalid base64: {error}", where=f"{where}.data") from error
    if len(data) != size or Digest.of(data, digest.algorithm) != digest:
        raise BadManifest("embedded data does not match its digest and size", where=f"{where}.data")
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image (or artifact): a config and its layers, with the bytes they were read from."""

    raw: bytes = field(repr=False)
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    subject: Descriptor | None = None

    @classmethod
    def parse(cls, raw: bytes, media_type: str = "") -> Self:
        """Read a manifest; *media_type* is what the sender said it is, or ``""``."""
        fields = _document(raw, media_type, mediatypes.OCI_MANIFEST, mediatypes.MANIFESTS)
        return cls(
            raw=raw,
            config=Descriptor.from_json(required(fields, "config", dict, ""), "config"),
            layers=_descriptors(fields, "layers"),
            **_common(fields),
        )

    @classmethod
    def new(
        cls,
        config: Descriptor,
        layers: Sequence[Descriptor],
        *,
        annotations: Mapping[str, str] | None = None,
        media_type: str = mediatypes.OCI_MANIFEST,
    ) -> Self:
        """Write a new manifest; the same arguments give the same bytes."""
        parts = {"config": config.to_json(), "layers": [layer.to_json() for layer in layers]}
        return cls.parse(_new(media_type, parts, annotations), media_type)

    def with_parts(self, config: Descriptor, layers: Sequence[Descriptor]) -> Self:
        """Return an OCI manifest with other parts, and all other fields of this one."""
        fields = {
            **parse_object(self.raw, "manifest"),
            "mediaType": mediatypes.OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        return self.parse(dump(fields), mediatypes.OCI_MANIFEST)

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of this manifest itself."""
        return describe(self.raw, self.media_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Several manifests under one name, usually one for each platform."""

    raw: bytes = field(repr=False)
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    subject: Descriptor | None = None

    @classmethod
    def parse(cls, raw: bytes, media_type: str = "", *, limit: int = MANIFEST_LIMIT) -> Self:
        """Read an index; *media_type* is what the sender said it is, or ``""``.

        *limit* is its maximum size in bytes: the index of a layout on disk may be larger.
        """
        fields = _document(raw, media_type, mediatypes.OCI_INDEX, mediatypes.INDEXES, limit)
        return cls(
            raw=raw,
            manifests=_descriptors(fields, "manifests"),
            **_common(fields),
        )

    @classmethod
    def new(
        cls,
        manifests: Sequence[Descriptor],
        *,
        annotations: Mapping[str, str] | None = None,
        media_type: str = mediatypes.OCI_INDEX,
    ) -> Self:
        """Write a new index; the same arguments give the same bytes."""
        parts = {"manifests": [manifest.to_json() for manifest in manifests]}
        return cls.parse(_new(media_type, parts, annotations), media_type)

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of this index itself."""
        return describe(self.raw, self.media_type)


def describe(raw: bytes, media_type: str) -> Descriptor:
    """Return the descriptor of *raw*."""
    return Descriptor(media_type=media_type, digest=Digest.of(raw), size=len(raw))


def parse_any(raw: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index, whichever *raw* says it is."""
    kind = mediatypes.bare(media_type)
    if kind in mediatypes.DOCKER_SCHEMA1:
        raise BadManifest(
            "Docker schema 1 manifests are not supported",
            where="manifest",
            hint="push the image again with a client from after 2017",
        )
    if kind not in mediatypes.INDEXES | mediatypes.MANIFESTS:
        fields = parse_object(raw, "manifest")
        if fields.get("schemaVersion") == 1:
            return parse_any(raw, next(iter(mediatypes.DOCKER_SCHEMA1)))
        kind = optional(fields, "mediaType", str, "", "")
        if not kind:
            is_index = fields.get("manifests") is not None
            kind = mediatypes.OCI_INDEX if is_index else mediatypes.OCI_MANIFEST
    if kind in mediatypes.INDEXES:
        return Index.parse(raw, kind)
    return Manifest.parse(raw, kind)


def dump(fields: Mapping[str, Any]) -> bytes:
    """Serialise a document: the same fields give the same bytes on every machine."""
    # What is not a character (a byte of another encoding) is written as an escape of JSON.
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def _new(media_type: str, parts: Mapping[str, Any], annotations: Mapping[str, str] | None) -> bytes:
    fields = {"schemaVersion": 2, "mediaType": media_type, **parts}
    if annotations:
        fields["annotations"] = dict(sorted(annotations.items()))
    return dump(fields)


def _common(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a document that manifests and indexes have in common."""
    subject = optional(fields, "subject", dict, {}, "")
    return {
        "media_type": fields["mediaType"],
        "annotations": string_map(fields, "annotations", ""),
        "artifact_type": optional(fields, "artifactType", str, "", ""),
        "subject": Descriptor.from_json(subject, "subject") if subject else None,
    }


def _document(
    raw: bytes, said: str, default: str, allowed: frozenset[str], limit: int = MANIFEST_LIMIT
) -> dict[str, Any]:
    """Parse and check the common fields of manifests and indexes; sets ``mediaType``."""
    where = "index" if default == mediatypes.OCI_INDEX else "manifest"
    if len(raw) > limit:
        raise BadManifest(f"the {where} is larger than {limit} bytes", where=where)
    fields = parse_object(raw, where)
    version = required(fields, "schemaVersion", int, "")
    if version != 2:
        raise BadManifest(f"unsupported schema version {version}", where="schemaVersion")
    said = mediatypes.bare(said)
    body = optional(fields, "mediaType", str, "", "")
    # CVE-2021-41190: header and body of a document must not give it two meanings.
    if said in _TYPES and body and body != said:
        raise BadManifest(
            f"the document says {body!r}, but was sent as {said!r}", where="mediaType"
        )
    kind = body or (said if said in _TYPES else default)
    if kind not in allowed:
        raise BadManifest(f"unexpected media type {kind!r} for this {where}", where="mediaType")
    others = _INDEX_FIELDS if allowed is mediatypes.MANIFESTS else _MANIFEST_FIELDS
    for name in (*others, "fsLayers"):  # the last is schema 1's
        if fields.get(name) is not None:
            raise BadManifest(
                f"unexpected field for this {where}: the document is ambiguous", where=name
            )
    return {**fields, "mediaType": kind}


def _descriptors(fields: Mapping[str, Any], name: str) -> tuple[Descriptor, ...]:
    return tuple(
        Descriptor.from_json(entry, f"{name}[{at}]")
        for at, entry in enumerate(object_list(fields, name, ""))
    )
