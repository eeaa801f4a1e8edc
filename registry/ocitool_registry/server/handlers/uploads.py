"""Uploads: begin, mount, append, commit, status, cancel.

A Location is relative, so that it is correct behind any proxy.  Source: OCI distribution-spec v1.1,
"Pushing Blobs", "Mounting a blob from another repository".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ocitool.errors import DigestMismatch
from ocitool_registry import limits, protocol
from ocitool_registry.server.backend import TooManyUploads, UploadConflict, UploadNotFound
from ocitool_registry.server.handlers import parameters
from ocitool_registry.server.messages import ApiError, Request, Response

if TYPE_CHECKING:
    from ocitool.oci.digest import Digest
    from ocitool_registry.server.backend import Backend


def begin(backend: Backend, request: Request, repository: str) -> Response:
    """POST: a mount, a whole blob in one request, or a new upload."""
    if text := request.argument("mount"):
        return _mount(backend, request, repository, parameters.digest(text))
    if text := request.argument("digest"):
        return _whole(backend, request, repository, parameters.digest(text))
    algorithm = request.argument("digest-algorithm") or "sha256"
    if algorithm not in ("sha256", "sha512"):
        raise ApiError("UNSUPPORTED", f"unsupported digest algorithm {algorithm!r}", status=400)
    return _open(repository, _begin(backend, repository, algorithm), 0)


def append(backend: Backend, request: Request, repository: str, upload: str) -> Response:
    """PATCH: append bytes; ``Content-Range`` gives their offset."""
    with _api_errors(repository, upload):
        size = _append(backend, request, repository, upload)
    return _open(repository, upload, size)


def commit(backend: Backend, request: Request, repository: str, upload: str) -> Response:
    """PUT: the last bytes, if any, and the digest of the blob."""
    digest = parameters.digest(request.argument("digest"))
    with _api_errors(repository, upload):
        if request.length != 0:
            _append(backend, request, repository, upload)
        backend.commit_upload(repository, upload, digest)
    return _created(repository, digest)


def status(backend: Backend, request: Request, repository: str, upload: str) -> Response:
    """GET: the size of an upload."""
    with _api_errors(repository, upload):
        size = backend.upload_size(repository, upload)
    return Response(status=204, headers=_upload_headers(repository, upload, size))


def cancel(backend: Backend, request: Request, repository: str, upload: str) -> Response:
    """DELETE: cancel an upload."""
    with _api_errors(repository, upload):
        backend.cancel_upload(repository, upload)
    return Response(status=204)


def _mount(backend: Backend, request: Request, repository: str, digest: Digest) -> Response:
    origin = request.argument("from")
    if origin:
        parameters.repository(origin)
    if backend.mount_blob(repository, digest, origin):
        return _created(repository, digest)
    # A missing blob is no error: the client uploads it instead.
    return _open(repository, _begin(backend, repository, digest.algorithm), 0)


def _whole(backend: Backend, request: Request, repository: str, digest: Digest) -> Response:
    upload = _begin(backend, repository, digest.algorithm)
    try:
        with _api_errors(repository, upload):
            backend.append_upload(repository, upload, request.body)
            backend.commit_upload(repository, upload, digest)
    except BaseException:
        # The client does not know the id of this upload, so it cannot cancel it.
        _cancel_quietly(backend, repository, upload)
        raise
    return _created(repository, digest)


def _begin(backend: Backend, repository: str, algorithm: str) -> str:
    try:
        return backend.begin_upload(repository, algorithm)
    except TooManyUploads as error:
        headers = {"Retry-After": str(limits.RETRY_AFTER)}
        raise ApiError("TOOMANYREQUESTS", error.message, headers=headers) from error


def _append(backend: Backend, request: Request, repository: str, upload: str) -> int:
    header = request.headers.get("Content-Range", "")
    if not header:
        return backend.append_upload(repository, upload, request.body)
    try:
        part = protocol.parse_content_range(header)
    except protocol.BadRange as error:
        size = backend.upload_size(repository, upload)
        raise _wrong_offset(repository, upload, size) from error
    if request.length is not None and request.length != part.stop - part.start:
        raise ApiError(
            "SIZE_INVALID",
            f"Content-Range {header} does not match a body of {request.length} bytes",
        )
    return backend.append_upload(repository, upload, request.body, offset=part.start)


@contextmanager
def _api_errors(repository: str, upload: str) -> Iterator[None]:
    """Translate errors of the backend to those of the spec."""
    try:
        yield
    except UploadNotFound as error:
        raise ApiError("BLOB_UPLOAD_UNKNOWN", error.message) from error
    except UploadConflict as error:
        raise _wrong_offset(repository, upload, error.size) from error
    except DigestMismatch as error:
        raise ApiError("DIGEST_INVALID", error.message) from error


def _wrong_offset(repository: str, upload: str, size: int) -> ApiError:
    # With Location and Range, a client can continue without a further request.
    return ApiError("RANGE_INVALID", headers=_upload_headers(repository, upload, size))


def _open(repository: str, upload: str, size: int) -> Response:
    return Response(status=202, headers=_upload_headers(repository, upload, size), length=0)


def _created(repository: str, digest: Digest) -> Response:
    headers = {
        "Location": protocol.blob_path(repository, digest),
        protocol.CONTENT_DIGEST: str(digest),
    }
    return Response(status=201, headers=headers, length=0)


def _upload_headers(repository: str, upload: str, size: int) -> dict[str, str]:
    return {
        "Location": protocol.uploads_path(repository) + upload,
        # "0-0" by convention for an empty upload: the format has no empty range.
        "Range": f"0-{max(size - 1, 0)}",
        protocol.UPLOAD_ID: upload,
    }


def _cancel_quietly(backend: Backend, repository: str, upload: str) -> None:
    try:
        backend.cancel_upload(repository, upload)
    except UploadNotFound:
        return
