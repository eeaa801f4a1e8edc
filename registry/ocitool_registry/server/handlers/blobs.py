"""Blobs: read, also a range, and delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocitool.errors import BlobNotFound
from ocitool_registry import protocol
from ocitool_registry.protocol import ByteRange
from ocitool_registry.server.handlers import parameters
from ocitool_registry.server.messages import OCTETS, ApiError, Request, Response

if TYPE_CHECKING:
    from ocitool.oci.digest import Digest
    from ocitool_registry.server.backend import Backend


def read(backend: Backend, request: Request, repository: str, name: str) -> Response:
    """GET or HEAD of a blob (distribution-spec, "Pulling blobs")."""
    digest = parameters.digest(name)
    size = _size(backend, repository, digest)
    headers = {
        "Content-Type": OCTETS,
        "Accept-Ranges": "bytes",
        "Etag": f'"{digest}"',
        protocol.CONTENT_DIGEST: str(digest),
    }
    part = _part(request, size, digest)
    if part is None:
        part, status = ByteRange(0, size), 200
    else:
        status = 206
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    length = part.stop - part.start
    if request.method == "HEAD":
        return Response(status=status, headers=headers, length=length)
    try:
        stream = backend.open_blob(repository, digest, part.start)
    except BlobNotFound as error:  # deleted in the meantime
        raise ApiError("BLOB_UNKNOWN", error.message) from error
    return Response(status=status, headers=headers, body=stream, length=length)


def delete(backend: Backend, request: Request, repository: str, name: str) -> Response:
    """DELETE of a blob in one repository (distribution-spec, "Deleting blobs")."""
    try:
        backend.delete_blob(repository, parameters.digest(name))
    except BlobNotFound as error:
        raise ApiError("BLOB_UNKNOWN", error.message) from error
    return Response(status=202)


def _size(backend: Backend, repository: str, digest: Digest) -> int:
    try:
        return backend.blob_size(repository, digest)
    except BlobNotFound as error:
        raise ApiError("BLOB_UNKNOWN", error.message) from error


def _part(request: Request, size: int, digest: Digest) -> ByteRange | None:
    # If-Range: content with a digest never changes, so any other entity tag is stale.
    condition = request.headers.get("If-Range", "")
    if condition and condition != f'"{digest}"':
        return None
    try:
        return protocol.parse_range(request.headers.get("Range", ""), size)
    except protocol.BadRange as error:
        headers = {"Content-Range": f"bytes */{size}"}
        raise ApiError("RANGE_INVALID", headers=headers) from error
