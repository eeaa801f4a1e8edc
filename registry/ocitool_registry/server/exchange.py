"""What a handler takes and gives: a `Call`, a `Reply`, and a `Refusal` that turns into one."""

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
class Call:
    """One request as a handler sees it."""

    method: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    headers: Headers
    body: Stream = field(repr=False)  # ends at the request's end; truncation raises
    length: int | None  # bytes; None where the body is chunked

    def argument(self, name: str) -> str:
        """Return a query parameter, or ``""``."""
        values = self.query.get(name)
        return values[0] if values else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One response as a handler gives it; a `Stream` as body is sent and closed by the caller."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Stream = field(default=b"", repr=False)
    length: int = 0  # bytes of the body, or of the one that a HEAD leaves out


class Refusal(Exception):
    """Ends the handling of a call with an error of the spec."""

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

    def reply(self) -> Reply:
        """Return the error as the spec's JSON (distribution-spec, "Error Codes")."""
        body = protocol.dump_error(self.code, self.message)
        return Reply(
            status=self.status,
            headers={**self.headers, "Content-Type": JSON},
            body=body,
            length=len(body),
        )
