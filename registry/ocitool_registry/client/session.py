"""A session with one registry: probed once (HTTPS or HTTP, how it authenticates), then authorized.

Responses that refuse a request are raised as errors.
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
        """Send one request and return a response that says yes.

        Args:
            path: what follows the host, or a whole address that the registry gave.
            scopes: what a token must allow.
            missing: the error for a GET, HEAD or DELETE that is answered 404.

        Raises:
            AuthError: other credentials are needed.
            ResponseError: the registry says no.
            TransportError: there is no answer.
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
            raise missing(f"{request.safe_url} is not there") from error
        raise error

    def identity(self, repository: str) -> Credential | None:
        """Return who we are to *repository*."""
        return self._open()[1].credential(repository)

    def _open(self) -> tuple[str, Authorizer]:
        with self._lock:
            if self._opened is None:
                self._opened = self._reach()
            return self._opened

    def _reach(self) -> tuple[str, Authorizer]:
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
    """A registry that answered."""

    base: str  # as "https://ghcr.io"
    response: Response  # closed; to ``GET /v2/`` without credentials


def probe(host: str, transport: Transport, *, insecure: bool) -> Probed:
    """Ask ``/v2/`` of *host* without credentials, and return how it answered.

    Only https is tried, unless *host* is this machine, which is asked in plain HTTP first, or
    *insecure* is given, which lets plain HTTP follow where TLS fails.

    Raises:
        TransportError: it does not answer.
    """
    if is_loopback(hostname(host)):
        return _loopback(host, transport)
    try:
        return _ask(f"https://{host}", transport)
    except ConnectError as error:
        if not insecure:
            raise
        try:
            return _ask(f"http://{host}", transport)
        except TransportError:
            # The first failure tells more, unless it was that there is no TLS.
            if isinstance(error, PlainHttpError):
                raise
            raise error from None


def _loopback(host: str, transport: Transport) -> Probed:
    # Plain HTTP first: a server that waits for a line would never answer a TLS handshake.
    try:
        probed = _ask(f"http://{host}", transport)
    except ConnectError:
        raise
    except TransportError:
        return _ask(f"https://{host}", transport)
    if probed.response.status == 400:  # "a plain request was sent to a TLS port", in many words
        return _ask(f"https://{host}", transport)
    return probed


def _ask(base: str, transport: Transport) -> Probed:
    response = transport.send(Request(method="GET", url=base + protocol.API))
    response.close()
    return Probed(base=base, response=response)
