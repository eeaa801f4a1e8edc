"""Values of the handlers: `Request`, `Response`, and `ApiError`, which becomes a response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ocitool_registry import protocol
from ocitool_registry.transport.http import Headers

if TYPE_CHECKING:
    from ocitool.oci.content import Stream

JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, as a handler receives it."""

    method: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    headers: Headers
    body: Stream = field(repr=False)  # read raises if the request is cut off
    length: int | None  # bytes; None where the body is chunked

    def argument(self, name: str) -> str:
        """Return a query parameter, or ``""``."""
        values = self.query.get(name)
        return values[0] if values else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One response, as a handler returns it; the caller sends and closes a `Stream` as body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Stream = field(default=b"", repr=False)
    length: int = 0  # bytes of the body; also for HEAD, which has none


class ApiError(Exception):
    """An error response of the distribution spec; ends the handling of a request."""

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status or protocol.CODES[code][0]
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the response for it (distribution-spec, "Error Codes")."""
        body = protocol.dump_error(self.code, self.message)
        return Response(
            status=self.status,
            headers={**self.headers, "Content-Type": JSON},
            body=body,
            length=len(body),
        )
