"""Manifests: read, put and delete, by tag and by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocitool.errors import BlobNotFound, FormatError, ImageNotFound
from ocitool.oci import mediatypes
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import MANIFEST_LIMIT, Index, Manifest, parse_any
from ocitool_registry import protocol
from ocitool_registry.server.backend import StoredManifest
from ocitool_registry.server.exchange import Call, Refusal, Reply
from ocitool_registry.server.handlers import parameters

if TYPE_CHECKING:
    from ocitool_registry.server.backend import Backend


def read(backend: Backend, call: Call, repository: str, name: str) -> Reply:
    """GET or HEAD: the exact bytes that were put (distribution-spec, "Pulling manifests")."""
    target = parameters.target(name)
    try:
        stored = backend.get_manifest(repository, target)
    except ImageNotFound as error:
        raise Refusal("MANIFEST_UNKNOWN", error.message) from error
    headers = {
        "Content-Type": stored.media_type,
        "Etag": f'"{stored.digest}"',
        protocol.CONTENT_DIGEST: str(stored.digest),
    }
    body = b"" if call.method == "HEAD" else stored.raw
    return Reply(status=200, headers=headers, body=body, length=len(stored.raw))


def put(backend: Backend, call: Call, repository: str, name: str) -> Reply:
    """PUT: keep the exact bytes (distribution-spec, "Pushing Manifests")."""
    target = parameters.target(name)
    raw = _body(call)
    digest = target if isinstance(target, Digest) else Digest.of(raw)
    if Digest.of(raw, digest.algorithm) != digest:
        raise Refusal("DIGEST_INVALID")
    media_type = mediatypes.bare(call.headers.get("Content-Type", ""))
    parsed = _parse(raw, media_type)
    if isinstance(parsed, Manifest):
        _require_blobs(backend, repository, parsed)
    stored = StoredManifest(digest=digest, media_type=parsed.media_type, raw=raw)
    backend.put_manifest(repository, stored, [target] if isinstance(target, str) else [])
    headers = {
        "Location": protocol.manifest_path(repository, digest),
        protocol.CONTENT_DIGEST: str(digest),
    }
    return Reply(status=201, headers=headers, length=0)


def delete(backend: Backend, call: Call, repository: str, name: str) -> Reply:
    """DELETE: by tag only the tag goes, by digest the manifest and all tags on it."""
    target = parameters.target(name)
    try:
        if isinstance(target, Digest):
            backend.delete_manifest(repository, target)
        else:
            backend.delete_tag(repository, target)
    except ImageNotFound as error:
        raise Refusal("MANIFEST_UNKNOWN", error.message) from error
    return Reply(status=202)


def _body(call: Call) -> bytes:
    if call.length is not None and call.length > MANIFEST_LIMIT:
        raise _too_large()
    parts: list[bytes] = []
    left = MANIFEST_LIMIT + 1
    while left and (part := call.body.read(left)):
        parts.append(part)
        left -= len(part)
    if not left:
        raise _too_large()
    return b"".join(parts)


def _too_large() -> Refusal:
    return Refusal("SIZE_INVALID", f"a manifest has at most {MANIFEST_LIMIT} bytes", status=413)


def _parse(raw: bytes, media_type: str) -> Manifest | Index:
    if media_type not in mediatypes.MANIFESTS | mediatypes.INDEXES:
        raise Refusal("MANIFEST_INVALID", f"media type {media_type!r} is not a manifest's")
    try:
        return parse_any(raw, media_type)
    except FormatError as error:
        raise Refusal("MANIFEST_INVALID", str(error)) from error


def _require_blobs(backend: Backend, repository: str, manifest: Manifest) -> None:
    """Refuse an image whose parts are not there: a push went wrong, and pulls would too.

    Layers that may not be distributed are exempt, and so are the children of an index (an index
    may be copied without all its platforms) and a ``subject``.
    """
    for descriptor in (manifest.config, *manifest.layers):
        if "nondistributable" in descriptor.media_type or "foreign" in descriptor.media_type:
            continue
        try:
            backend.blob_size(repository, descriptor.digest)
        except BlobNotFound as error:
            raise Refusal("MANIFEST_BLOB_UNKNOWN", error.message) from error
