"""HTTP requests and responses as values; bodies are streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

from ocitool_registry import limits

if TYPE_CHECKING:
    from ocitool.oci.content import Opener, Stream


class Headers(Mapping[str, str]):
    """Header fields: names are case-insensitive, repeated fields are joined with commas."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, str] = {}
        for name, value in fields:
            key = name.lower()
            self._fields[key] = f"{self._fields[key]}, {value}" if key in self._fields else value

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({list(self._fields)})"  # the values may be secret

    def plus(self, fields: Mapping[str, str]) -> Headers:
        """Return a copy with *fields* set."""
        added = {name.lower(): value for name, value in fields.items()}
        return Headers(({**self._fields, **added}).items())

    def without(self, *names: str) -> Headers:
        """Return a copy without *names*."""
        dropped = {name.lower() for name in names}
        return Headers((name, value) for name, value in self.items() if name not in dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Bytes to send; opened again for every attempt, so that a retry sends them from the start."""

    open: Opener
    size: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request."""

    method: str
    url: str
    headers: Headers = field(default_factory=Headers)
    body: Body | bytes = b""
    #: Whether it may be sent again after a failure, although it may have been received.
    repeatable: bool = True
    #: Whether redirects to another host are an error, because the body is secret.
    same_host: bool = False

    @property
    def safe_url(self) -> str:
        """The URL without secrets, for messages."""
        return redacted(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP response; the receiver must close it, or use it in a ``with`` block."""

    status: int
    url: str  # after redirects
    headers: Headers
    stream: Stream = field(repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def error_body(self) -> bytes:
        """Return the beginning of the body, for an error message."""
        return self.stream.read(limits.ERROR_TEXT)

    def close(self) -> None:
        self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def redacted(url: str) -> str:
    """Return *url* without user, password and query, which may contain secrets and signatures."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
