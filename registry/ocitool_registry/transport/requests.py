"""The way to a registry: the `Transport` Protocol, and the one that speaks HTTP by requests.

`RequestsTransport` sends once.  What follows redirects and what tries again are transports around
it (`ocitool_registry.transport.redirect`, `ocitool_registry.transport.retry`).
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from ocitool.errors import ConnectError, RegistryError, Timeout, TransportError
from ocitool_registry.transport.http import Body, Headers, Request, Response

if TYPE_CHECKING:
    import requests

CHUNK: Final = 1024 * 1024  # bytes sent at once
_DRAIN: Final = 64 * 1024  # bytes that are read rather than a connection given up
_AGENT: Final = "ocitool"

#: What urllib3 puts around the system's own words.
_NOISE: Final = re.compile(
    r"HTTPS?Connection\([^()]*\): |Failed to establish a new connection: |\(?\[Errno -?\d+\] "
)

_CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Transport(Protocol):
    """Carries one request to its host and the response back.

    Called from several threads at once.  A response of any status is a success; raises
    `TransportError` where none came, and nothing of requests, urllib3, socket or ssl.
    """

    def send(self, request: Request) -> Response:
        """Send *request* and return the response, its body unread."""


class TlsError(ConnectError):
    """TLS failed; trying again would be of no use."""


class PlainHttpError(TlsError):
    """TLS was spoken to a host that answers in plain HTTP."""


class RequestsTransport:
    """Sends by the requests library: verified TLS, proxies and CA bundle of the environment.

    No cookie is kept, no ``.netrc`` is read, no redirect is followed, nothing is decoded.

    Args:
        verify: whether certificates are checked.
        connect_timeout: seconds until a connection stands, TLS included.
        read_timeout: seconds a connection may be silent.
        connections: connections kept for one host.
    """

    def __init__(
        self,
        *,
        verify: bool = True,
        connect_timeout: float = 10.0,
        read_timeout: float = 120.0,
        connections: int = 8,
    ) -> None:
        self._verify = verify
        self._timeout = (connect_timeout, read_timeout)
        self._connections = connections
        self._session: requests.Session | None = None
        self._lock = threading.Lock()

    def send(self, request: Request) -> Response:
        """Send *request* once; see `Transport`."""
        import requests  # 100 ms that only a real request is worth

        session = self._open()
        headers = {
            "User-Agent": _AGENT,
            "Accept-Encoding": "identity",  # content is named by the digest of what is stored
            "Accept": "*/*",
            **request.headers.plus({}),
        }
        try:
            prepared = session.prepare_request(
                requests.Request(request.method, request.url, _titled(headers), data=_data(request))
            )
            settings: Any = session.merge_environment_settings(
                request.url, {}, True, self._certificates(), None
            )
            # Not session.send: it follows the Location of a redirect even where told not to.
            adapter = session.get_adapter(request.url)
            answer = adapter.send(prepared, timeout=self._timeout, **settings)
        except requests.RequestException as error:
            raise _translated(request, error) from error
        except OSError as error:  # such as a CA bundle that is not there
            raise ConnectError(str(error), where=_where(request)) from error
        return Response(
            status=answer.status_code,
            url=request.url,
            headers=Headers(answer.raw.headers.iteritems()),
            stream=_Stream(answer, request),
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def _open(self) -> requests.Session:
        with self._lock:
            if self._session is None:
                self._session = _session(self._connections, verify=self._verify)
            return self._session

    def _certificates(self) -> bool | str:
        if not self._verify:
            return False
        # requests itself does not know SSL_CERT_FILE.
        return next((value for name in _CA_VARIABLES if (value := os.environ.get(name))), True)


def _session(connections: int, *, verify: bool) -> requests.Session:
    from http.cookiejar import DefaultCookiePolicy

    import requests
    import urllib3

    if not verify:  # was asked for by name: no need to print it with every request
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    session = requests.Session()
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.auth = _keep  # without an auth of its own, requests takes one from .netrc
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _keep(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    return prepared


def _titled(headers: dict[str, str]) -> dict[str, str]:
    return {name.title(): value for name, value in headers.items()}


# -- bodies --------------------------------------------------------------------------------


class _Chunks:
    """A body as requests sends it in large pieces: iterable and of known length, not a file."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __len__(self) -> int:
        return self._body.size

    def __iter__(self) -> Iterator[bytes]:
        left = self._body.size
        stream = self._body.open()
        try:
            # A byte more or less than was announced would be read as part of the next request.
            while chunk := stream.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise RegistryError(f"there are more than the {self._body.size} bytes promised")
                yield chunk
            if left:
                raise RegistryError(f"{left} of the {self._body.size} bytes promised are missing")
        finally:
            stream.close()


def _data(request: Request) -> Any:
    if isinstance(request.body, Body):
        # An empty iterable would be sent chunked; empty bytes have their length said.
        return _Chunks(request.body) if request.body.size else b""
    return request.body or None


class _Stream:
    """A response's body, raw."""

    def __init__(self, answer: requests.Response, request: Request) -> None:
        self._answer = answer
        self._request = request

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self._answer.raw.read(None if size < 0 else size, decode_content=False)
        except Exception as error:
            raise _cut(self._request, error) from error
        return data

    def close(self) -> None:
        raw = self._answer.raw
        left = getattr(raw, "length_remaining", None)
        with contextlib.suppress(OSError):
            if left is not None and left <= _DRAIN:
                raw.drain_conn()  # a connection is used again once its answer is read to the end
            else:
                self._answer.close()


# -- errors --------------------------------------------------------------------------------


def _where(request: Request) -> str:
    return f"{request.method} {request.safe_url}"


def _cut(request: Request, error: Exception) -> TransportError:
    import urllib3

    if isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError):
        return Timeout("the registry stopped sending", where=_where(request))
    if isinstance(error, urllib3.exceptions.HTTPError | OSError):
        return TransportError(f"the connection broke: {error}", where=_where(request))
    return TransportError(f"the response cannot be read: {error}", where=_where(request))


def _translated(request: Request, error: Exception) -> TransportError:
    import requests
    import urllib3

    where = _where(request)
    text = _cause(error)
    if isinstance(error, requests.exceptions.SSLError):
        return _tls(where, text)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return Timeout("no connection in time", where=where, hint="is the host name right?")
    if isinstance(error, requests.exceptions.Timeout):
        return Timeout("no answer in time", where=where)
    if isinstance(error, requests.exceptions.ProxyError):
        hint = "HTTPS_PROXY, HTTP_PROXY and NO_PROXY decide over the proxy"
        return ConnectError(f"the proxy does not let through: {text}", where=where, hint=hint)
    if isinstance(error, requests.exceptions.ConnectionError):
        # MaxRetryError is what urllib3 raises before a connection stands; the rest is after.
        if error.args and isinstance(error.args[0], urllib3.exceptions.MaxRetryError):
            plain = _NOISE.sub("", text).rstrip(")")
            hint = "is the host's name right, and does a registry listen there?"
            return ConnectError(f"no connection: {plain}", where=where, hint=hint)
        return TransportError(f"the connection broke: {text}", where=where)
    return TransportError(f"the request failed: {text}", where=where)


def _tls(where: str, text: str) -> TlsError:
    # OpenSSL's ways to say that what came back was no TLS record.
    if any(sign in text.upper() for sign in ("WRONG_VERSION", "RECORD_LAYER", "UNKNOWN_PROTOCOL")):
        return PlainHttpError(
            "the registry speaks plain HTTP, not TLS",
            where=where,
            hint="if that is meant, give --tls-verify=false (in the library: insecure=True)",
        )
    if "CERTIFICATE_VERIFY_FAILED" in text.upper():
        return TlsError(
            f"the registry's certificate is not trusted: {text}",
            where=where,
            hint="name the CA's certificates in SSL_CERT_FILE, or give --tls-verify=false",
        )
    return TlsError(f"TLS failed: {text}", where=where)


def _cause(error: BaseException) -> str:
    """Return the innermost reason: requests and urllib3 wrap it in text about pools."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "reason", None) or next(
            (part for part in seen.args if isinstance(part, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            text = str(seen)
            return text.rpartition(": ")[2] if ">: " in text else text
        seen = inner
