"""The server as a WSGI application: the route table, and the conversion from and to WSGI."""

from __future__ import annotations

import http
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from ocitool.errors import OcitoolError, RegistryError, StoreReadOnly, TransportError
from ocitool_registry import protocol
from ocitool_registry.server.handlers import blobs, listings, manifests, parameters, uploads
from ocitool_registry.server.messages import ApiError, Request, Response
from ocitool_registry.transport.http import Headers

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from ocitool.oci.content import Stream
    from ocitool_registry.server.backend import Backend

CHUNK: Final = 512 * 1024  # bytes written at once
_LOG: Final = logging.getLogger("ocitool.registry")

Handler = Callable[..., Response]


def _ping(backend: Backend, request: Request) -> Response:
    return Response(status=200, headers={"Content-Type": "application/json"}, body=b"{}", length=2)


def _referrers(backend: Backend, request: Request, repository: str, name: str) -> Response:
    # 404 is how a client learns to use the fallback tag (distribution-spec, "Listing Referrers").
    raise ApiError("UNSUPPORTED", "referrers are not supported", status=404)


# Matched from the end of the path: a repository name may contain "blobs" or "tags".
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

    The WSGI server must pass on chunked bodies (``wsgi.input_terminated``).
    """

    def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = _request(environ)
        response = handle(backend, request)
        headers = {protocol.API_VERSION: "registry/2.0", **response.headers}
        if response.status != http.HTTPStatus.NO_CONTENT:  # RFC 9110, section 8.6
            headers["Content-Length"] = str(response.length)
        phrase = http.HTTPStatus(response.status).phrase
        start_response(f"{response.status} {phrase}", list(headers.items()))
        if request.method == "HEAD":
            _close(response.body)
            return []
        if isinstance(response.body, bytes):
            return [response.body]
        return _Chunks(response.body, response.length)

    return respond


def handle(backend: Backend, request: Request) -> Response:
    """Return the response to one request; all errors become responses."""
    try:
        return _route(backend, request)
    except ApiError as error:
        return error.response()
    except BodyCut as error:
        # A client may retry after a timeout (408).
        status = 408 if isinstance(error.__cause__, TimeoutError) else 0
        return ApiError("SIZE_INVALID", error.message, status=status).response()
    except StoreReadOnly:  # no client should try again, as it does after 500
        return ApiError("UNSUPPORTED", "the registry is read-only").response()
    except OcitoolError as error:
        _LOG.error("%s %s: %s", request.method, request.path, error)
        return ApiError("UNKNOWN", "registry storage failed").response()


def _route(backend: Backend, request: Request) -> Response:
    for pattern, methods in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match is None:
            continue
        handler = methods.get(request.method)
        if handler is None:
            allow = {"Allow": ", ".join(methods)}
            raise ApiError(
                "UNSUPPORTED", f"method {request.method} is not supported", headers=allow
            )
        repository = [parameters.repository(name) for name in match.groups()[:1]]
        return handler(backend, request, *repository, *match.groups()[1:])
    raise ApiError("UNSUPPORTED", f"no such endpoint: {request.path}", status=404)


def _request(environ: WSGIEnvironment) -> Request:
    query: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True):
        query[name] = (*query.get(name, ()), value)
    headers = Headers(
        (name[5:].replace("_", "-"), value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    )
    length = _length(environ)
    return Request(
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
    """The client disconnected before the end of the body, or sent a malformed one."""


class _Body:
    """The body of a request; read raises `BodyCut` if it is cut off, with any WSGI server."""

    def __init__(self, source: Stream, length: int | None) -> None:
        self._source = source
        self._left = length

    def read(self, size: int = -1) -> bytes:
        if self._left is not None:
            size = self._left if size < 0 else min(size, self._left)
        try:
            data = self._source.read(size)
        except (OSError, ValueError, TransportError) as error:
            raise BodyCut(f"cannot read the body: {error}") from error
        if self._left is not None:
            if size and not data:
                raise BodyCut(f"body ends {self._left} bytes early")
            self._left -= len(data)
        return data

    def close(self) -> None:
        return None


class _Chunks:
    """A stream as an iterable of chunks, for WSGI; its close method closes the stream."""

    def __init__(self, stream: Stream, length: int) -> None:
        self._stream = stream
        self._left = length

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            chunk = self._stream.read(min(CHUNK, self._left))
            if not chunk:
                # The headers are sent: the client notices only a closed connection.
                raise RegistryError(f"stored content ends {self._left} bytes early")
            self._left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._stream.close()


def _close(body: bytes | Stream) -> None:
    if not isinstance(body, bytes):
        body.close()
