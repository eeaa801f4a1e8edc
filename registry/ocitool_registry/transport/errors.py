"""Errors for responses with an error status, with the reason and a hint."""

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

_LONGEST_TEXT: Final = 200  # characters of a body that is not in the format of the spec
_TAGS: Final = re.compile(rb"<(script|style)\b.*?(?:</\1>|\Z)|<[^<>]*>", re.IGNORECASE | re.DOTALL)

_HINTS: Final = {
    408: "the registry timed out; try again",
    413: "the registry, or a proxy in front of it, limits the size of requests",
    429: "the registry limits the rate of requests; wait, or log in for a higher limit",
    503: "the registry is overloaded or under maintenance; try again later",
}


def failure(request: Request, response: Response) -> RegistryError:
    """Read and close *response*, and return the error for it.

    `AuthError` for status 401 and 403, otherwise `ResponseError`.
    """
    body = _body(response)
    error = protocol.parse_error(body)
    code = error.code if error else ""
    detail = error.message if error else _text(body)
    reason = ": ".join(part for part in (code, detail) if part)
    where = f"{request.method} {request.safe_url}"
    message = f"status {response.status}" + (f", {reason}" if reason else "")
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
        return b""  # the status is enough for an error


def _text(body: bytes) -> str:
    """Return the text of an HTML page or a plain text, as proxies send it, shortened."""
    words = _TAGS.sub(b" ", body).decode(errors="replace").split()
    text = " ".join(words)
    text = "".join(sign for sign in text if sign.isprintable())
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def _auth_hint(request: Request, response: Response) -> str:
    host, target = origin(request.url).host, origin(response.url).host
    if target != host:
        return f"{host} redirected to {target}, which denied access; check the registry's storage"
    if response.status == 403:
        return "the credentials do not have permission for this operation"
    name = registry_name(urlsplit(request.url).netloc)
    return f"run `ocitool login {name}`, and check that the repository exists"
