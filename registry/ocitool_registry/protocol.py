"""What client and server share: paths, header names, error codes, ranges and links.

Source: OCI distribution-spec v1.1, "Endpoints", "Error Codes"; RFC 9110 section 14 (ranges).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import quote

from ocitool.oci.digest import Digest
from ocitool.oci.json_text import parse_json

API: Final = "/v2/"
CATALOG: Final = "/v2/_catalog"

CONTENT_DIGEST: Final = "Docker-Content-Digest"
UPLOAD_ID: Final = "Docker-Upload-UUID"
API_VERSION: Final = "Docker-Distribution-API-Version"

REPOSITORY: Final = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
LONGEST_NAME: Final = 255

#: error code -> status and default message
CODES: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        "BLOB_UNKNOWN": (404, "blob unknown to registry"),
        "BLOB_UPLOAD_INVALID": (404, "blob upload invalid"),
        "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
        "DENIED": (403, "requested access to the resource is denied"),
        "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
        "MANIFEST_BLOB_UNKNOWN": (400, "manifest references a blob unknown to the registry"),
        "MANIFEST_INVALID": (400, "manifest invalid"),
        "MANIFEST_UNKNOWN": (404, "manifest unknown to registry"),
        "NAME_INVALID": (400, "invalid repository name"),
        "NAME_UNKNOWN": (404, "repository name not known to registry"),
        "PAGINATION_NUMBER_INVALID": (400, "invalid number of results requested"),
        "RANGE_INVALID": (416, "invalid content range"),
        "SIZE_INVALID": (400, "provided length did not match content length"),
        "TAG_INVALID": (400, "manifest tag is not a tag"),
        "TOOMANYREQUESTS": (429, "too many requests"),
        "UNAUTHORIZED": (401, "authentication required"),
        "UNAVAILABLE": (503, "service unavailable"),
        "UNKNOWN": (500, "unknown error"),
        "UNSUPPORTED": (405, "the operation is unsupported"),
    }
)


# -- paths ---------------------------------------------------------------------------------


def manifest_path(repository: str, target: Digest | str) -> str:
    return f"/v2/{repository}/manifests/{target}"


def blob_path(repository: str, digest: Digest) -> str:
    return f"/v2/{repository}/blobs/{digest}"


def uploads_path(repository: str) -> str:
    # The trailing slash is in the spec, and some registries require it.
    return f"/v2/{repository}/blobs/uploads/"


def tags_path(repository: str) -> str:
    return f"/v2/{repository}/tags/list"


def with_query(url: str, **parameters: str) -> str:
    """Append query parameters to those that a Location already has (they may be session state)."""
    added = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    head, mark, fragment = url.partition("#")
    return f"{head}{'&' if '?' in head else '?'}{added}{mark}{fragment}"


# -- errors --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """Code and message of one error in an error response."""

    code: str
    message: str


def dump_error(code: str, message: str) -> bytes:
    """Return the body of an error response (distribution-spec, "Error Codes")."""
    fields = {"code": code, "message": message or CODES[code][1]}
    return json.dumps({"errors": [fields]}).encode()


def parse_error(body: bytes) -> ErrorInfo | None:
    """Return the first error of an error response, ``None`` if the body has another format."""
    try:
        parsed = parse_json(body)
    except ValueError:
        return None
    errors = parsed.get("errors") if isinstance(parsed, dict) else None
    if not isinstance(errors, list) or not errors or not isinstance(errors[0], dict):
        return None
    first = errors[0]
    return ErrorInfo(str(first.get("code") or ""), str(first.get("message") or ""))


# -- ranges --------------------------------------------------------------------------------

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_CONTENT_RANGE: Final = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]+|\*))?")


class BadRange(ValueError):
    """A malformed or unsatisfiable range: status 416."""


class ByteRange(NamedTuple):
    """Bytes from *start* up to, but not including, *stop*."""

    start: int
    stop: int


def parse_range(header: str, size: int) -> ByteRange | None:
    """Parse a ``Range`` header for *size* bytes; `BadRange` if it cannot be satisfied.

    Returns ``None`` for a header to ignore: another unit, or several ranges.  A server may then
    send the whole content (RFC 9110, section 14.2).
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    if start >= stop:
        raise BadRange(header)
    return ByteRange(start, stop)


def parse_content_range(header: str) -> ByteRange:
    """Parse a ``Content-Range`` header; `BadRange` if it is malformed.

    In an upload it has no unit and no total size (distribution-spec, "Pushing a blob in chunks").
    """
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        raise BadRange(header)
    first, last = int(match[1]), int(match[2])
    if last < first:
        raise BadRange(header)
    return ByteRange(first, last + 1)


# -- links ---------------------------------------------------------------------------------

_LINK: Final = re.compile(
    r'<([^<>]*)>((?:\s*;\s*[^\s=;,"]+\s*=\s*(?:"(?:\\.|[^"\\])*"|[^;,"\s]*))*)'
)
_RELATION: Final = re.compile(r';\s*rel\s*=\s*"?([^";]*)"?', re.IGNORECASE)


def next_link(header: str) -> str:
    """Return the target of ``rel="next"`` in a ``Link`` header, unchanged, or ``""``."""
    for target, relations in _links(header):
        if "next" in relations:
            return target
    return ""


def _links(header: str) -> Iterator[tuple[str, list[str]]]:
    for match in _LINK.finditer(header):
        relation = _RELATION.search(match[2])
        yield match[1], relation[1].lower().split() if relation else []
