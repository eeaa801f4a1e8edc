"""The server as a WSGI application: the route table, and the way from and to WSGI."""

from __future__ import annotations

import http
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from ocitool.errors import OcitoolError, RegistryError, StoreReadOnly, TransportError
from ocitool_registry import protocol
from ocitool_registry.server.exchange import Call, Refusal, Reply
from ocitool_registry.server.handlers import blobs, listings, manifests, parameters, uploads
from ocitool_registry.transport.http import Headers

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from ocitool.oci.content import Stream
    from ocitool_registry.server.backend import Backend

CHUNK: Final = 512 * 1024  # bytes written at once
_LOG: Final = logging.getLogger("ocitool.registry")

Handler = Callable[..., Reply]


def _ping(backend: Backend, call: Call) -> Reply:
    return Reply(status=200, headers={"Content-Type": "application/json"}, body=b"{}", length=2)


def _referrers(backend: Backend, call: Call, repository: str, name: str) -> Reply:
    # 404 is how a client learns to use the fallback tag (distribution-spec, "Listing Referrers").
    raise Refusal("UNSUPPORTED", "referrers are not served", status=404)


# The end of a path decides: a repository's own name may have "blobs" or "tags" among its parts.
_ROUTES: Final[tuple[tuple[re.Pattern[str], dict[str, Handler]], ...]] = tuple(
    (re.compile(pattern), methods)
    for pattern, methods in (
        (r"/v2/?", {"GET": _ping, "HEAD": _ping}),
        (r"/v2/_catalog", {"GET": listings.catalog}),
        (r"/v2/(.+)/blobs/uploads/?", {"POST": uploads.begin}),
        (
            r"/v2/(.+)/blobs/uploads/([A-Za-z0-9_-]+)",
            {
                "GET": uploads.status,
                "PATCH": uploads.append,
                "PUT": uploads.commit,
                "DELETE": uploads.cancel,
            },
        ),
        (
            r"/v2/(.+)/blobs/([^/]+)",
            {"GET": blobs.read, "HEAD": blobs.read, "DELETE": blobs.delete},
        ),
        (
            r"/v2/(.+)/manifests/([^/]+)",
            {
                "GET": manifests.read,
                "HEAD": manifests.read,
                "PUT": manifests.put,
                "DELETE": manifests.delete,
            },
        ),
        (r"/v2/(.+)/tags/list", {"GET": listings.tags}),
        (r"/v2/(.+)/referrers/([^/]+)", {"GET": _referrers}),
    )
)


def application(backend: Backend) -> WSGIApplication:
    """Return a WSGI application that serves *backend*.

    The server it runs on must hand on bodies that are chunked (``wsgi.input_terminated``).
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        call = _call(environ)
        reply = handle(backend, call)
        headers = {protocol.API_VERSION: "registry/2.0", **reply.headers}
        if reply.status != http.HTTPStatus.NO_CONTENT:  # RFC 9110, section 8.6
            headers["Content-Length"] = str(reply.length)
        phrase = http.HTTPStatus(reply.status).phrase
        start_response(f"{reply.status} {phrase}", list(headers.items()))
        if call.method == "HEAD":
            _close(reply.body)
            return []
        if isinstance(reply.body, bytes):
            return [reply.body]
        return _Chunks(reply.body, reply.length)

    return answer


def handle(backend: Backend, call: Call) -> Reply:
    """Answer one call; every error becomes a reply."""
    try:
        return _route(backend, call)
    except Refusal as refusal:
        return refusal.reply()
    except BodyCut as error:
        # After a time-out, as after other faults on the way, a client may try again.
        status = 408 if isinstance(error.__cause__, TimeoutError) else 0
        return Refusal("SIZE_INVALID", error.message, status=status).reply()
    except StoreReadOnly:  # no client should try again, as it does after 500
        return Refusal("UNSUPPORTED", "the registry is read-only").reply()
    except OcitoolError as error:
        _LOG.error("%s %s: %s", call.method, call.path, error)
        return Refusal("UNKNOWN", "the registry's storage failed").reply()


def _route(backend: Backend, call: Call) -> Reply:
    for pattern, methods in _ROUTES:
        match = pattern.fullmatch(call.path)
        if match is None:
            continue
        handler = methods.get(call.method)
        if handler is None:
            allow = {"Allow": ", ".join(methods)}
            raise Refusal("UNSUPPORTED", f"{call.method} is not supported here", headers=allow)
        repository = [parameters.repository(name) for name in match.groups()[:1]]
        return handler(backend, call, *repository, *match.groups()[1:])
    raise Refusal("UNSUPPORTED", f"there is nothing at {call.path}", status=404)


def _call(environ: WSGIEnvironment) -> Call:
    query: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True):
        query[name] = (*query.get(name, ()), value)
    headers = Headers(
        (name[5:].replace("_", "-"), value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    )
    length = _length(environ)
    return Call(
        method=environ["REQUEST_METHOD"],
        path=environ.get("PATH_INFO", ""),
        query=query,
        headers=headers.plus({"Content-Type": environ.get("CONTENT_TYPE", "")}),
        body=_Body(environ["wsgi.input"], length),
        length=length,
    )


def _length(environ: WSGIEnvironment) -> int | None:
    if environ.get("wsgi.input_terminated") and "HTTP_TRANSFER_ENCODING" in environ:
        return None
    return int(environ.get("CONTENT_LENGTH") or 0)


class BodyCut(TransportError):
    """The client went away, or sent what is not a body, before its body was whole."""


class _Body:
    """A request's body that knows a cut from an end, whichever WSGI server it comes from."""

    def __init__(self, source: Stream, length: int | None) -> None:
        self._source = source
        self._left = length

    def read(self, size: int = -1) -> bytes:
        if self._left is not None:
            size = self._left if size < 0 else min(size, self._left)
        try:
            data = self._source.read(size)
        except (OSError, ValueError, TransportError) as error:
            raise BodyCut(f"the body cannot be read: {error}") from error
        if self._left is not None:
            if size and not data:
                raise BodyCut(f"the body ends {self._left} bytes early")
            self._left -= len(data)
        return data

    def close(self) -> None:
        return None


class _Chunks:
    """The bytes of a stream as WSGI wants them; closing closes the stream."""

    def __init__(self, stream: Stream, length: int) -> None:
        self._stream = stream
        self._left = length

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            chunk = self._stream.read(min(CHUNK, self._left))
            if not chunk:
                # The length is promised already: only hanging up tells the client.
                raise RegistryError(f"stored content ends {self._left} bytes early")
            self._left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _close(body: bytes | Stream) -> None:
    if not isinstance(body, bytes):
        body.close()
