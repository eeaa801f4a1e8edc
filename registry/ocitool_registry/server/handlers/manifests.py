"""Manifests: read, put and delete, by tag and by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocitool.errors import BlobNotFound, FormatError, ImageNotFound
from ocitool.oci import mediatypes
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import MANIFEST_LIMIT, Index, Manifest, parse_any
from ocitool_registry import protocol
from ocitool_registry.server.backend import StoredManifest
from ocitool_registry.server.handlers import parameters
from ocitool_registry.server.messages import ApiError, Request, Response

if TYPE_CHECKING:
    from ocitool_registry.server.backend import Backend


def read(backend: Backend, request: Request, repository: str, name: str) -> Response:
    """GET or HEAD: the exact bytes that were pushed (distribution-spec, "Pulling manifests")."""
    target = parameters.target(name)
    try:
        stored = backend.get_manifest(repository, target)
    except ImageNotFound as error:
        raise ApiError("MANIFEST_UNKNOWN", error.message) from error
    headers = {
        "Content-Type": stored.media_type,
        "Etag": f'"{stored.digest}"',
        protocol.CONTENT_DIGEST: str(stored.digest),
    }
    body = b"" if request.method == "HEAD" else stored.raw
    return Response(status=200, headers=headers, body=body, length=len(stored.raw))


def put(backend: Backend, request: Request, repository: str, name: str) -> Response:
    """PUT: store the exact bytes (distribution-spec, "Pushing Manifests")."""
    target = parameters.target(name)
    raw = _body(request)
    digest = target if isinstance(target, Digest) else Digest.of(raw)
    if Digest.of(raw, digest.algorithm) != digest:
        raise ApiError("DIGEST_INVALID")
    media_type = mediatypes.bare(request.headers.get("Content-Type", ""))
    parsed = _parse(raw, media_type)
    if isinstance(parsed, Manifest):
        _require_blobs(backend, repository, parsed)
    stored = StoredManifest(digest=digest, media_type=parsed.media_type, raw=raw)
    backend.put_manifest(repository, stored, [target] if isinstance(target, str) else [])
    headers = {
        "Location": protocol.manifest_path(repository, digest),
        protocol.CONTENT_DIGEST: str(digest),
    }
    return Response(status=201, headers=headers, length=0)


def delete(backend: Backend, request: Request, repository: str, name: str) -> Response:
    """DELETE a tag, or a manifest by its digest, with all its tags."""
    target = parameters.target(name)
    try:
        if isinstance(target, Digest):
            backend.delete_manifest(repository, target)
        else:
            backend.delete_tag(repository, target)
    except ImageNotFound as error:
        raise ApiError("MANIFEST_UNKNOWN", error.message) from error
    return Response(status=202)


def _body(request: Request) -> bytes:
    if request.length is not None and request.length > MANIFEST_LIMIT:
        raise _too_large()
    parts: list[bytes] = []
    left = MANIFEST_LIMIT + 1
    while left and (part := request.body.read(left)):
        parts.append(part)
        left -= len(part)
    if not left:
        raise _too_large()
    return b"".join(parts)


def _too_large() -> ApiError:
    return ApiError("SIZE_INVALID", f"manifest is larger than {MANIFEST_LIMIT} bytes", status=413)


def _parse(raw: bytes, media_type: str) -> Manifest | Index:
    if media_type not in mediatypes.MANIFESTS | mediatypes.INDEXES:
        raise ApiError("MANIFEST_INVALID", f"unsupported media type {media_type!r}")
    try:
        return parse_any(raw, media_type)
    except FormatError as error:
        raise ApiError("MANIFEST_INVALID", str(error)) from error


def _require_blobs(backend: Backend, repository: str, manifest: Manifest) -> None:
    """Raise `ApiError` if a blob of an image is missing, since the image could not be pulled.

    Exempt are non-distributable layers, the manifests of an index (it may be copied without some
    of its platforms), and a ``subject``.
    """
    for descriptor in (manifest.config, *manifest.layers):
        if "nondistributable" in descriptor.media_type or "foreign" in descriptor.media_type:
            continue
        try:
            backend.blob_size(repository, descriptor.digest)
        except BlobNotFound as error:
            raise ApiError("MANIFEST_BLOB_UNKNOWN", error.message) from error
