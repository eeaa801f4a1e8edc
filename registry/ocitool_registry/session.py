"""A session with one registry: reached once, authorized throughout, refusals raised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ocitool.errors import ImageNotFound, NotFound
from ocitool_registry.auth import Authorizer
from ocitool_registry.credentials import default_source
from ocitool_registry.endpoint import connect_host
from ocitool_registry.failure import failure
from ocitool_registry.message import Body, Headers, Request, Response
from ocitool_registry.probe import probe
from ocitool_registry.redirect import Redirecting
from ocitool_registry.retry import Retrying, RetryPolicy

if TYPE_CHECKING:
    from ocitool_registry.credentials import CredentialSource
    from ocitool_registry.identity import Credential
    from ocitool_registry.transport import Transport


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
