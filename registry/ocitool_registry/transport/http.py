"""Requests and responses as values, with bodies that stream: what a `Transport` carries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

from ocitool_registry import limits

if TYPE_CHECKING:
    from ocitool.oci.content import Opener, Stream


class Headers(Mapping[str, str]):
    """Header fields: any case of a name finds it, and repeated ones are joined by commas."""

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
        """Return these with *fields* set."""
        added = {name.lower(): value for name, value in fields.items()}
        return Headers(({**self._fields, **added}).items())

    def without(self, *names: str) -> Headers:
        """Return these without *names*."""
        dropped = {name.lower() for name in names}
        return Headers((name, value) for name, value in self.items() if name not in dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Bytes to send: opened anew for every attempt, so that a retry begins at the start."""

    open: Opener
    size: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request."""

    method: str
    url: str
    headers: Headers = field(default_factory=Headers)
    body: Body | bytes = b""
    #: Whether it may be sent again after a fault without knowing if the first one arrived.
    repeatable: bool = True
    #: Whether no redirect may take it to another host, because its body is secret.
    stays: bool = False

    @property
    def safe_url(self) -> str:
        """The address without anything secret, for messages."""
        return redacted(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP response; whoever receives it closes it, its context does so too."""

    status: int
    url: str  # the address that answered, after redirects
    headers: Headers
    stream: Stream = field(repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def error_body(self) -> bytes:
        """Return the beginning of the body, for the text of an error."""
        return self.stream.read(limits.ERROR_TEXT)

    def close(self) -> None:
        self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def redacted(url: str) -> str:
    """Return *url* without user, password and query, which hold signatures and upload state."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
