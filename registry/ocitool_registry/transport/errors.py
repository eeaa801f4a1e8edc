"""Responses that say no, turned into errors that say who, where, why, and what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ocitool.errors import AuthError, RegistryError, ResponseError, TransportError
from ocitool_registry import protocol
from ocitool_registry.transport.http import redacted
from ocitool_registry.transport.retry import RETRYABLE
from ocitool_registry.transport.urls import origin, registry_name

if TYPE_CHECKING:
    from ocitool_registry.transport.http import Request, Response

_LONGEST_TEXT: Final = 200  # characters of a body that is not the spec's JSON
_TAGS: Final = re.compile(rb"<(script|style)\b.*?(?:</\1>|\Z)|<[^<>]*>", re.IGNORECASE | re.DOTALL)

_HINTS: Final = {
    408: "the registry was too slow; try again",
    413: "the registry, or a proxy before it, limits how large a request may be",
    429: "the registry limits how often it is asked; wait, or log in if you have not",
    503: "the registry is overloaded or under maintenance; try again later",
}


def failure(request: Request, response: Response) -> RegistryError:
    """Read and close *response* and return it as an error.

    `AuthError` for 401 and 403, otherwise `ResponseError`.
    """
    body = _body(response)
    error = protocol.parse_error(body)
    code = error.code if error else ""
    detail = error.message if error else _text(body)
    said = ": ".join(part for part in (code, detail) if part)
    where = f"{request.method} {request.safe_url}"
    message = f"status {response.status}" + (f", {said}" if said else "")
    if response.status in (401, 403):
        return AuthError(message, where=where, hint=_auth_hint(request, response))
    return ResponseError(
        message,
        status=response.status,
        code=code,
        detail=detail,
        url=redacted(response.url),
        retryable=response.status in RETRYABLE,
        where=where,
        hint=_HINTS.get(response.status, ""),
    )


def _body(response: Response) -> bytes:
    try:
        with response:
            return response.error_body()
    except TransportError:
        return b""  # the status is known; that its text was cut off is no news


def _text(body: bytes) -> str:
    """Return the words of a page or text that a proxy sent, shortened."""
    words = _TAGS.sub(b" ", body).decode(errors="replace").split()
    text = " ".join(words)
    text = "".join(sign for sign in text if sign.isprintable())
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def _auth_hint(request: Request, response: Response) -> str:
    _, host, _ = origin(request.url)
    _, answered, _ = origin(response.url)
    if answered != host:
        return f"{answered}, where {host} sent us, refuses; the registry's storage is at fault"
    if response.status == 403:
        return "the credentials in use do not allow this"
    name = registry_name(urlsplit(request.url).netloc)
    return f"log in: ocitool login {name}; some registries say this of what does not exist, too"
