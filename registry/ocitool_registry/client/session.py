"""A session with one registry: protocol and authentication are detected with the first request.

Responses with an error status are raised as errors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocitool.errors import ConnectError, ImageNotFound, NotFound, TransportError
from ocitool_registry import protocol
from ocitool_registry.auth.authorizer import Authorizer
from ocitool_registry.auth.keychain import default_source
from ocitool_registry.transport.errors import failure
from ocitool_registry.transport.http import Body, Headers, Request, Response
from ocitool_registry.transport.redirect import Redirecting
from ocitool_registry.transport.requests import PlainHttpError
from ocitool_registry.transport.retry import Retrying, RetryPolicy
from ocitool_registry.transport.urls import connect_host, hostname, is_loopback

if TYPE_CHECKING:
    from ocitool_registry.auth.credential import Credential
    from ocitool_registry.auth.keychain import CredentialSource
    from ocitool_registry.transport.requests import Transport


class Session:
    """Sends requests to one registry; the arguments are `RegistryClient`'s."""

    def __init__(
        self,
        host: str,
        transport: Transport,
        *,
        credentials: CredentialSource | None,
        insecure: bool,
        retry: RetryPolicy,
    ) -> None:
        self._host = host
        self._transport = Retrying(Redirecting(transport), retry)
        self._credentials = credentials
        self._insecure = insecure
        self._lock = threading.Lock()
        self._opened: tuple[str, Authorizer] | None = None

    def send(
        self,
        method: str,
        path: str,
        repository: str,
        scopes: Sequence[str],
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | bytes = b"",
        repeatable: bool = True,
        missing: Callable[[str], NotFound] = ImageNotFound,
    ) -> Response:
        """Send one request and return its successful response.

        Args:
            path: the path at the registry, or a whole URL that the registry returned.
            scopes: the scopes that a token needs.
            missing: the error for status 404 of a GET, HEAD or DELETE.

        Raises:
            AuthError: access is denied.
            ResponseError: the response has an error status.
            TransportError: there is no response.
        """
        base, authorizer = self._open()
        request = Request(
            method=method,
            url=path if "://" in path else base + path,
            headers=Headers((headers or {}).items()),
            body=body,
            repeatable=repeatable,
        )
        response = authorizer.send(request, repository, scopes)
        if response.ok:
            return response
        error = failure(request, response)
        if response.status == 404 and method in ("GET", "HEAD", "DELETE"):
            raise missing(f"not found: {request.safe_url}") from error
        raise error

    def credential(self, repository: str) -> Credential | None:
        """Return the credential for *repository*."""
        return self._open()[1].credential(repository)

    def _open(self) -> tuple[str, Authorizer]:
        with self._lock:
            if self._opened is None:
                self._opened = self._connect()
            return self._opened

    def _connect(self) -> tuple[str, Authorizer]:
        probed = probe(connect_host(self._host), self._transport, insecure=self._insecure)
        authorizer = Authorizer(
            self._transport,
            self._host,
            probed.base,
            self._credentials or default_source(),
            insecure=self._insecure,
        )
        authorizer.learn(probed.response)
        return probed.base, authorizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """How a registry can be reached."""

    base: str  # such as "https://ghcr.io"
    response: Response  # closed; to ``GET /v2/`` without credentials


def probe(host: str, transport: Transport, *, insecure: bool) -> Probed:
    """Send ``GET /v2/`` to *host* without credentials, and return the response.

    Only HTTPS is tried, with two exceptions: on a loopback address plain HTTP is tried first, and
    with *insecure* plain HTTP is tried if TLS fails.

    Raises:
        TransportError: there is no response.
    """
    if is_loopback(hostname(host)):
        return _probe_loopback(host, transport)
    try:
        return _ping(f"https://{host}", transport)
    except ConnectError as error:
        if not insecure:
            raise
        try:
            return _ping(f"http://{host}", transport)
        except TransportError:
            # The first error is more helpful, unless it was that the host has no TLS.
            if isinstance(error, PlainHttpError):
                raise
            raise error from None


def _probe_loopback(host: str, transport: Transport) -> Probed:
    # Plain HTTP first: a server that waits for a line never responds to a TLS handshake.
    try:
        probed = _ping(f"http://{host}", transport, once=True)
    except ConnectError:
        raise
    except TransportError:  # as servers that only speak TLS end it
        return _ping(f"https://{host}", transport)
    if probed.response.status == 400:  # servers respond so to plain HTTP on a TLS port
        return _ping(f"https://{host}", transport)
    return probed


def _ping(base: str, transport: Transport, *, once: bool = False) -> Probed:
    request = Request(method="GET", url=base + protocol.API, repeatable=not once)
    response = transport.send(request)
    response.close()
    return Probed(base=base, response=response)
