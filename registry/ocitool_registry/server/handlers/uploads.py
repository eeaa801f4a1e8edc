"""Uploads: begin, mount, append, commit, ask, cancel.

A Location is relative, so it is right behind any proxy.  Source: OCI distribution-spec v1.1,
"Pushing Blobs", "Mounting a blob from another repository".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ocitool.errors import DigestMismatch
from ocitool_registry import limits, protocol
from ocitool_registry.server.backend import TooManyUploads, UploadConflict, UploadNotFound
from ocitool_registry.server.exchange import Call, Refusal, Reply
from ocitool_registry.server.handlers import parameters

if TYPE_CHECKING:
    from ocitool.oci.digest import Digest
    from ocitool_registry.server.backend import Backend


def begin(backend: Backend, call: Call, repository: str) -> Reply:
    """POST: a mount, a whole blob in one request, or a new upload."""
    if text := call.argument("mount"):
        return _mount(backend, call, repository, parameters.digest(text))
    if text := call.argument("digest"):
        return _whole(backend, call, repository, parameters.digest(text))
    algorithm = call.argument("digest-algorithm") or "sha256"
    if algorithm not in ("sha256", "sha512"):
        raise Refusal("UNSUPPORTED", f"digest algorithm {algorithm!r}", status=400)
    return _open(repository, _begin(backend, repository, algorithm), 0)


def append(backend: Backend, call: Call, repository: str, upload: str) -> Reply:
    """PATCH: the next bytes, with ``Content-Range`` a chunk of known place."""
    with _refusals(repository, upload):
        size = _append(backend, call, repository, upload)
    return _open(repository, upload, size)


def commit(backend: Backend, call: Call, repository: str, upload: str) -> Reply:
    """PUT: the last bytes, if any, and the digest of it all."""
    digest = parameters.digest(call.argument("digest"))
    with _refusals(repository, upload):
        if call.length != 0:
            _append(backend, call, repository, upload)
        backend.commit_upload(repository, upload, digest)
    return _created(repository, digest)


def status(backend: Backend, call: Call, repository: str, upload: str) -> Reply:
    """GET: how far an upload has come."""
    with _refusals(repository, upload):
        size = backend.upload_size(repository, upload)
    return Reply(status=204, headers=_place(repository, upload, size))


def cancel(backend: Backend, call: Call, repository: str, upload: str) -> Reply:
    """DELETE: give an upload up."""
    with _refusals(repository, upload):
        backend.cancel_upload(repository, upload)
    return Reply(status=204)


def _mount(backend: Backend, call: Call, repository: str, digest: Digest) -> Reply:
    origin = call.argument("from")
    if origin:
        parameters.repository(origin)
    if backend.mount_blob(repository, digest, origin):
        return _created(repository, digest)
    # A blob that is not there is no error: the client goes on with the upload it gets instead.
    return _open(repository, _begin(backend, repository, digest.algorithm), 0)


def _whole(backend: Backend, call: Call, repository: str, digest: Digest) -> Reply:
    upload = _begin(backend, repository, digest.algorithm)
    try:
        with _refusals(repository, upload):
            backend.append_upload(repository, upload, call.body)
            backend.commit_upload(repository, upload, digest)
    except BaseException:
        # The client never learned this upload's name, so nobody else will end it.
        _forget(backend, repository, upload)
        raise
    return _created(repository, digest)


def _begin(backend: Backend, repository: str, algorithm: str) -> str:
    try:
        return backend.begin_upload(repository, algorithm)
    except TooManyUploads as error:
        headers = {"Retry-After": str(limits.RETRY_AFTER)}
        raise Refusal("TOOMANYREQUESTS", error.message, headers=headers) from error


def _append(backend: Backend, call: Call, repository: str, upload: str) -> int:
    header = call.headers.get("Content-Range", "")
    if not header:
        return backend.append_upload(repository, upload, call.body)
    try:
        first, end = protocol.parse_content_range(header)
    except protocol.BadRange as error:
        size = backend.upload_size(repository, upload)
        raise _misplaced(repository, upload, size) from error
    if call.length is not None and call.length != end - first:
        raise Refusal("SIZE_INVALID", f"Content-Range {header} with {call.length} bytes")
    return backend.append_upload(repository, upload, call.body, offset=first)


@contextmanager
def _refusals(repository: str, upload: str) -> Iterator[None]:
    """Say a backend's errors in the words of the spec."""
    try:
        yield
    except UploadNotFound as error:
        raise Refusal("BLOB_UPLOAD_UNKNOWN", error.message) from error
    except UploadConflict as error:
        raise _misplaced(repository, upload, error.size) from error
    except DigestMismatch as error:
        raise Refusal("DIGEST_INVALID", error.message) from error


def _misplaced(repository: str, upload: str, size: int) -> Refusal:
    # With Location and Range a client can go on from here without asking first.
    return Refusal("RANGE_INVALID", headers=_place(repository, upload, size))


def _open(repository: str, upload: str, size: int) -> Reply:
    return Reply(status=202, headers=_place(repository, upload, size), length=0)


def _created(repository: str, digest: Digest) -> Reply:
    headers = {
        "Location": protocol.blob_path(repository, digest),
        protocol.CONTENT_DIGEST: str(digest),
    }
    return Reply(status=201, headers=headers, length=0)


def _place(repository: str, upload: str, size: int) -> dict[str, str]:
    return {
        "Location": protocol.uploads_path(repository) + upload,
        # No bytes at all are "0-0" by convention, as one byte is: the form has no other way.
        "Range": f"0-{max(size - 1, 0)}",
        protocol.UPLOAD_ID: upload,
    }


def _forget(backend: Backend, repository: str, upload: str) -> None:
    try:
        backend.cancel_upload(repository, upload)
    except UploadNotFound:
        return
