"""Authorization of requests: answers challenges, and caches and renews tokens."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ocitool.errors import AuthError
from ocitool_registry import limits
from ocitool_registry.auth.challenge import Challenge, choose, parse_challenges
from ocitool_registry.auth.token import Token, fetch
from ocitool_registry.transport.urls import origin

if TYPE_CHECKING:
    from ocitool_registry.auth.credential import Credential
    from ocitool_registry.auth.keychain import CredentialSource
    from ocitool_registry.transport.http import Request, Response
    from ocitool_registry.transport.requests import Transport

Scopes = tuple[str, ...]


def scope(repository: str, *actions: str) -> str:
    """Return the scope of a token, such as ``repository:library/debian:pull,push``."""
    return f"repository:{repository}:{','.join(actions)}"


class Authorizer:
    """Sends requests to one registry with its credentials.

    The first challenge is remembered, so that later requests are authorized when they are first
    sent, and a body is not sent twice.  Tokens are cached by their scopes.

    Args:
        transport: sends requests, to the registry and to the token server.
        registry: the name in the authentication files.
        base: the registry's URL, such as ``https://ghcr.io``.
        credentials: the source of credentials.
        insecure: whether the token server may use plain HTTP.
    """

    def __init__(
        self,
        transport: Transport,
        registry: str,
        base: str,
        credentials: CredentialSource,
        *,
        insecure: bool,
    ) -> None:
        self._transport = transport
        self._registry = registry
        self._base = base
        self._credentials = credentials
        self._insecure = insecure
        # Also held while a token is fetched: four parallel blobs need one token, not four.
        self._lock = threading.RLock()
        self._challenge: Challenge | None = None
        self._challenge_scopes: dict[Scopes, Scopes] = {}  # our scopes -> those of the challenge
        self._credential_cache: dict[str, Credential | None] = {}
        self._tokens: dict[tuple[str, str, Scopes, str], Token] = {}

    def learn(self, response: Response) -> None:
        """Remember the challenge of a response, to authorize further requests in advance."""
        challenge = _challenge(response)
        if challenge is not None:
            with self._lock:
                self._challenge = challenge

    def credential(self, repository: str) -> Credential | None:
        """Return the credential for *repository*; it is looked up once."""
        with self._lock:
            if repository not in self._credential_cache:
                self._credential_cache[repository] = self._credentials.get(
                    self._registry, repository
                )
            return self._credential_cache[repository]

    def send(self, request: Request, repository: str = "", scopes: Sequence[str] = ()) -> Response:
        """Send *request*, which needs *scopes*; if denied, repeat it once with new credentials.

        The response is returned even if access is still denied.

        Raises:
            AuthError: the token server denied the request.
            TransportError: there was no response.
        """
        if origin(request.url) != origin(self._base):
            # For example an upload's Location on a storage host: it gets no credentials.
            return self._transport.send(request)
        wanted = tuple(scopes)
        used = self._authorization(repository, wanted)
        response = self._transport.send(_authorized(request, used))
        if not _is_denied(request, response):
            return response
        challenged = self._update(response, repository, wanted)
        # Some registries answer 403 without a challenge if a token has expired.
        renewed = self._authorization(repository, wanted, denied=used) if challenged or used else ""
        if not renewed or renewed == used:
            return response
        response.close()
        return self._transport.send(_authorized(request, renewed))

    def _update(self, response: Response, repository: str, wanted: Scopes) -> bool:
        """Remember the challenge of a denied request; returns whether there is one."""
        challenge = _challenge(response)
        with self._lock:
            self._credential_cache.pop(repository, None)  # a helper may return a new secret
            if challenge is None:
                return False
            self._challenge = challenge
            self._challenge_scopes[wanted] = tuple(challenge.get("scope").split())
            return True

    def _authorization(self, repository: str, wanted: Scopes, *, denied: str = "") -> str:
        """Return the ``Authorization`` value; a token equal to *denied* is renewed."""
        with self._lock:
            challenge = self._challenge
            if challenge is None:
                return ""
            credential = self.credential(repository)
            if challenge.scheme == "basic":
                return credential.basic if credential is not None else ""
            if credential is not None and credential.registry_token:
                return f"Bearer {credential.registry_token}"
            return self._bearer(challenge, credential, wanted, denied)

    def _bearer(
        self, challenge: Challenge, credential: Credential | None, wanted: Scopes, denied: str
    ) -> str:
        # The scopes of the challenge come first: some token servers grant only those.
        scopes = tuple(dict.fromkeys((*self._challenge_scopes.get(wanted, ()), *wanted)))
        user = credential.username if credential is not None else ""
        key = (challenge.get("realm"), challenge.get("service"), scopes, user)
        kept = self._tokens.get(key)
        if kept is None or not kept.fresh or f"Bearer {kept.value}" == denied:
            kept = fetch(
                self._transport,
                self._base,
                challenge,
                scopes,
                credential,
                insecure=self._insecure,
            )
            self._tokens[key] = kept
        return f"Bearer {kept.value}"


def _challenge(response: Response) -> Challenge | None:
    header = response.headers.get("WWW-Authenticate", "")
    return choose(parse_challenges(header)) if len(header) <= limits.FIELD else None


def _is_denied(request: Request, response: Response) -> bool:
    # The target of a redirect to another host gets no credentials.
    return response.status in (401, 403) and origin(response.url) == origin(request.url)


def _authorized(request: Request, value: str) -> Request:
    if not value:
        return request
    if not (value.isascii() and value.isprintable()):
        raise AuthError(
            "malformed token: it has characters that no HTTP header may have",
            where=request.safe_url,
            hint="run `ocitool login`, or remove the token from the authentication file",
        )
    return replace(request, headers=request.headers.plus({"Authorization": value}))
