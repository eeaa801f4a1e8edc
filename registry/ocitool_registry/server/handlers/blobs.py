"""Blobs: read, in whole or in part, and delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocitool.errors import BlobNotFound
from ocitool_registry import protocol
from ocitool_registry.server.exchange import OCTETS, Call, Refusal, Reply
from ocitool_registry.server.handlers import parameters

if TYPE_CHECKING:
    from ocitool.oci.digest import Digest
    from ocitool_registry.server.backend import Backend


def read(backend: Backend, call: Call, repository: str, name: str) -> Reply:
    """GET or HEAD of a blob (distribution-spec, "Pulling blobs")."""
    digest = parameters.digest(name)
    size = _size(backend, repository, digest)
    headers = {
        "Content-Type": OCTETS,
        "Accept-Ranges": "bytes",
        "Etag": f'"{digest}"',
        protocol.CONTENT_DIGEST: str(digest),
    }
    part = _part(call, size, digest)
    if part is None:
        start, stop, status = 0, size, 200
    else:
        (start, stop), status = part, 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    if call.method == "HEAD":
        return Reply(status=status, headers=headers, length=stop - start)
    try:
        stream = backend.open_blob(repository, digest, start)
    except BlobNotFound as error:  # deleted since its size was asked for
        raise Refusal("BLOB_UNKNOWN", error.message) from error
    return Reply(status=status, headers=headers, body=stream, length=stop - start)


def delete(backend: Backend, call: Call, repository: str, name: str) -> Reply:
    """DELETE of a blob in one repository (distribution-spec, "Deleting blobs")."""
    try:
        backend.delete_blob(repository, parameters.digest(name))
    except BlobNotFound as error:
        raise Refusal("BLOB_UNKNOWN", error.message) from error
    return Reply(status=202)


def _size(backend: Backend, repository: str, digest: Digest) -> int:
    try:
        return backend.blob_size(repository, digest)
    except BlobNotFound as error:
        raise Refusal("BLOB_UNKNOWN", error.message) from error


def _part(call: Call, size: int, digest: Digest) -> tuple[int, int] | None:
    # If-Range: content that is named by its digest never changes, so any tag but ours is stale.
    condition = call.headers.get("If-Range", "")
    if condition and condition != f'"{digest}"':
        return None
    try:
        return protocol.parse_range(call.headers.get("Range", ""), size)
    except protocol.BadRange as error:
        headers = {"Content-Range": f"bytes */{size}"}
        raise Refusal("RANGE_INVALID", headers=headers) from error
