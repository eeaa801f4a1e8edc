"""The `Transport` Protocol, and its implementation with the requests library.

`RequestsTransport` sends a request once.  Redirects and retries are done by transports that wrap it
(`ocitool_registry.transport.redirect`, `ocitool_registry.transport.retry`).
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from ocitool.errors import ConnectError, RegistryError, Timeout, TransportError
from ocitool_registry.transport.http import Body, Headers, Request, Response
from ocitool_registry.transport.trusted import bundle
from ocitool_registry.transport.urls import hostname, is_loopback, split_url

if TYPE_CHECKING:
    import requests

CHUNK: Final = 1024 * 1024  # bytes sent at once
_DRAIN: Final = 64 * 1024  # bytes that are read in order to keep a connection
_CONNECTIONS: Final = 8  # kept open for one host
_AGENT: Final = "ocitool"

#: What urllib3 adds to the system's error message.
_NOISE: Final = re.compile(
    r"HTTPS?Connection\([^()]*\): |Failed to establish a new connection: |\[Errno -?\d+\] "
)


class Transport(Protocol):
    """Sends a request and returns the response.

    It is called from several threads.  Responses with an error status are returned, too.
    `TransportError` is raised if there is no response; no exception of requests, urllib3, socket
    or ssl is.
    """

    def send(self, request: Request) -> Response:
        """Send *request* and return the response, its body unread."""


class TlsError(ConnectError):
    """TLS failed; the request is not repeated."""


class PlainHttpError(TlsError):
    """The host uses plain HTTP instead of TLS."""


class RequestsTransport:
    """Sends with the requests library; proxies and CA certificates are from the environment.

    Where the environment names no certificates, those of the system are used.  No proxy is asked
    for hosts on loopback.

    Cookies and ``.netrc`` are not used, redirects are not followed, bodies are not decoded.

    Args:
        verify: whether certificates are verified.
        certificates: files of further CAs, and directories with them, ``*.crt``, and with those of
            the client, ``*.cert`` with ``*.key`` (containers-certs.d(5)).
        connect_timeout: seconds to establish a connection, TLS included.
        read_timeout: seconds without data on a connection.
    """

    def __init__(
        self,
        *,
        verify: bool = True,
        certificates: tuple[str, ...] = (),
        connect_timeout: float = 10.0,
        read_timeout: float = 120.0,
    ) -> None:
        self._verify = verify
        self._further = certificates
        self._timeout = (connect_timeout, read_timeout)
        self._session: requests.Session | None = None
        self._lock = threading.Lock()

    def send(self, request: Request) -> Response:
        """Send *request* once; see `Transport`."""
        import requests  # takes 100 ms: only for a real request
        import urllib3

        session = self._open()
        headers = {
            "User-Agent": _AGENT,
            "Accept-Encoding": "identity",  # digests are of the bytes as they are stored
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
            if is_loopback(hostname(split_url(request.url).netloc)):
                settings["proxies"] = {}  # as Go's http.ProxyFromEnvironment
            # Not session.send: it parses the Location of a redirect even without following it.
            adapter = session.get_adapter(request.url)
            response = adapter.send(prepared, timeout=self._timeout, **settings)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            # urllib3's own is that of a host name which IDNA does not allow.
            raise _translated(request, error) from error
        except OSError as error:  # such as a missing CA bundle
            raise ConnectError(str(error), where=_where(request)) from error
        return Response(
            status=response.status_code,
            url=request.url,
            headers=Headers(response.raw.headers.iteritems()),
            stream=_Stream(response, request),
        )

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def _open(self) -> requests.Session:
        with self._lock:
            if self._session is None:
                self._session = _session(verify=self._verify, certificates=self._further)
            return self._session

    def _certificates(self) -> bool | str:
        # requests has CAs of its own, and does not support SSL_CERT_FILE.
        return (bundle() or True) if self._verify else False


def _session(*, verify: bool, certificates: tuple[str, ...]) -> requests.Session:
    from http.cookiejar import DefaultCookiePolicy

    import requests
    import urllib3

    if not verify:  # the user has chosen this: no warning for every request
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    session = requests.Session()
    adapter: requests.adapters.HTTPAdapter
    if certificates:
        from ocitool_registry.transport.certificates import CertificatesAdapter

        adapter = CertificatesAdapter(certificates, pool_maxsize=_CONNECTIONS)
    else:
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.auth = _unchanged  # without one, requests uses .netrc
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _unchanged(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    return prepared


def _titled(headers: dict[str, str]) -> dict[str, str]:
    return {name.title(): value for name, value in headers.items()}


# -- bodies --------------------------------------------------------------------------------


class _Chunks:
    """A body as an iterable of known length, which requests sends in large chunks."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __len__(self) -> int:
        return self._body.size

    def __iter__(self) -> Iterator[bytes]:
        left = self._body.size
        stream = self._body.open()
        try:
            # With a wrong Content-Length, bytes would be read as part of the next request.
            while chunk := stream.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise RegistryError(
                        f"content is larger than the expected {self._body.size} bytes"
                    )
                yield chunk
            if left:
                raise RegistryError(
                    f"content ends {left} bytes before the expected {self._body.size} bytes"
                )
        finally:
            stream.close()


def _data(request: Request) -> Any:
    if isinstance(request.body, Body):
        # An empty iterable would be sent chunked, empty bytes with a Content-Length.
        return _Chunks(request.body) if request.body.size else b""
    return request.body or None


class _Stream:
    """A response's body, raw."""

    def __init__(self, response: requests.Response, request: Request) -> None:
        self._response = response
        self._request = request

    def read(self, size: int = -1) -> bytes:
        try:
            data: bytes = self._response.raw.read(None if size < 0 else size, decode_content=False)
        except Exception as error:
            raise _read_error(self._request, error) from error
        return data

    def close(self) -> None:
        raw = self._response.raw
        left = getattr(raw, "length_remaining", None)
        with contextlib.suppress(OSError):
            if left is not None and left <= _DRAIN:
                raw.drain_conn()  # a connection is reused once its response has been read
            else:
                self._response.close()


# -- errors --------------------------------------------------------------------------------


def _where(request: Request) -> str:
    return f"{request.method} {request.safe_url}"


def _read_error(request: Request, error: Exception) -> TransportError:
    from http.client import IncompleteRead  # urllib3's own is one, too

    import urllib3

    if isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError):
        return Timeout("timeout while reading the response", where=_where(request))
    if any(isinstance(each, IncompleteRead) for each in error.args):
        return TransportError("the response ended too early", where=_where(request))
    if isinstance(error, urllib3.exceptions.HTTPError | OSError):
        return TransportError(f"connection failed: {error}", where=_where(request))
    return TransportError(f"cannot read the response: {error}", where=_where(request))


def _translated(request: Request, error: Exception) -> TransportError:
    import requests
    import urllib3

    where = _where(request)
    text = _cause(error)
    if isinstance(error, requests.exceptions.SSLError):
        return _tls(where, text)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return Timeout("timeout while connecting", where=where, hint="check the host name")
    if isinstance(error, requests.exceptions.Timeout):
        return Timeout("timeout while waiting for the response", where=where)
    if isinstance(error, requests.exceptions.ProxyError):
        hint = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        return ConnectError(f"cannot connect through the proxy: {text}", where=where, hint=hint)
    if isinstance(error, requests.exceptions.ConnectionError):
        # urllib3 raises MaxRetryError if no connection was established.
        if error.args and isinstance(error.args[0], urllib3.exceptions.MaxRetryError):
            plain = _NOISE.sub("", text.replace(" ([Errno", ": [Errno")).rstrip(")")
            hint = "check the host name and the port, and that the registry is running"
            return ConnectError(f"cannot connect: {plain}", where=where, hint=hint)
        return TransportError(f"connection failed: {text}", where=where)
    return TransportError(f"request failed: {text}", where=where)


def _tls(where: str, text: str) -> TlsError:
    # OpenSSL's errors for data that is not a TLS record.
    if any(sign in text.upper() for sign in ("WRONG_VERSION", "RECORD_LAYER", "UNKNOWN_PROTOCOL")):
        return PlainHttpError(
            "the registry uses plain HTTP, not HTTPS",
            where=where,
            hint="use --tls-verify=false to allow plain HTTP (in the library: insecure=True)",
        )
    if "CERTIFICATE_VERIFY_FAILED" in text.upper():
        return TlsError(
            f"the registry's certificate is not trusted: {text}",
            where=where,
            hint="set SSL_CERT_FILE to the CA certificates, or use --tls-verify=false",
        )
    return TlsError(f"TLS failed: {text}", where=where)


def _cause(error: BaseException) -> str:
    """Return the innermost reason: requests and urllib3 wrap it several times."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "reason", None) or next(
            (part for part in seen.args if isinstance(part, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            text = str(seen)
            return text.rpartition(": ")[2] if ">: " in text else text
        seen = inner
