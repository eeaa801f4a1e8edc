"""The content of a successful response: its body, digest, length and media type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ocitool.errors import BadDigest, RegistryError
from ocitool.oci import mediatypes
from ocitool.oci.digest import Digest
from ocitool.oci.json_text import parse_json
from ocitool_registry import protocol
from ocitool_registry.transport.http import redacted

if TYPE_CHECKING:
    from ocitool_registry.transport.http import Response

_LENGTH: Final = re.compile(r"[0-9]{1,18}")


def bounded(response: Response, limit: int) -> bytes:
    """Return the whole body, at most *limit* bytes; `RegistryError` if it is larger."""
    parts: list[bytes] = []
    left = limit + 1
    while left and (part := response.stream.read(left)):
        parts.append(part)
        left -= len(part)
    if not left:
        raise RegistryError(f"response is larger than {limit} bytes", where=_where(response))
    return b"".join(parts)


def json_object(response: Response, body: bytes) -> dict[str, Any]:
    """Return the *body* of a response as a JSON object; `RegistryError` otherwise."""
    try:
        fields = parse_json(body)
    except ValueError as error:
        raise RegistryError("invalid JSON in registry response", where=_where(response)) from error
    if not isinstance(fields, dict):
        raise RegistryError("expected a JSON object in registry response", where=_where(response))
    return fields


def content_digest(response: Response) -> Digest | None:
    """Return the digest in the response header, ``None`` if it is missing or invalid."""
    try:
        return Digest.parse(response.headers.get(protocol.CONTENT_DIGEST, "").strip())
    except BadDigest:
        return None


def content_length(response: Response) -> int | None:
    """Return the length in the response header, ``None`` if it is missing or invalid."""
    text = response.headers.get("Content-Length", "").strip()
    return int(text) if _LENGTH.fullmatch(text) else None


def media_type(response: Response) -> str:
    """Return the media type without parameters, which some registries add."""
    return mediatypes.bare(response.headers.get("Content-Type", ""))


def _where(response: Response) -> str:
    return redacted(response.url)
