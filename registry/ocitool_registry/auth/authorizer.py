"""Requests with the right ``Authorization``: challenges answered, tokens kept and renewed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

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
    """Return a token's scope, as ``repository:library/debian:pull,push``."""
    return f"repository:{repository}:{','.join(actions)}"


class Authorizer:
    """Sends the requests of one registry as whoever its credentials say.

    The registry's first challenge is remembered, so that later requests carry their authorization
    at once and a body is never sent only to be refused.  Tokens are kept by their scopes.

    Args:
        transport: sends requests, to the registry and to the token server.
        registry: the name credentials are looked up by.
        base: the registry's address, as ``https://ghcr.io``.
        credentials: where credentials come from.
        insecure: whether a token server may be asked in plain HTTP.
    """

    def __init__(
        self,
        transport: Transport,
        registry: str,
        base: str,
        credentials: CredentialSource,
        *,
        insecure: bool = False,
    ) -> None:
        self._transport = transport
        self._registry = registry
        self._base = base
        self._credentials = credentials
        self._insecure = insecure
        # Held while a token is fetched, too: four parallel blobs need one token, not four.
        self._lock = threading.RLock()
        self._challenge: Challenge | None = None
        self._named: dict[Scopes, Scopes] = {}  # scopes the registry itself named for ours
        self._found: dict[str, Credential | None] = {}
        self._tokens: dict[tuple[str, str, Scopes, str], Token] = {}

    def learn(self, response: Response) -> None:
        """Remember what a response asks for, to answer it before it is asked again."""
        challenge = _challenge(response)
        if challenge is not None:
            with self._lock:
                self._challenge = challenge

    def credential(self, repository: str) -> Credential | None:
        """Return who we are to *repository*; its source is asked once."""
        with self._lock:
            if repository not in self._found:
                self._found[repository] = self._credentials.get(self._registry, repository)
            return self._found[repository]

    def send(self, request: Request, repository: str = "", scopes: Sequence[str] = ()) -> Response:
        """Send *request*, which needs *scopes*, and once more with new credentials if refused.

        The response may still be a refusal: it is returned as it came.

        Raises:
            AuthError: the token server refuses.
            TransportError: no answer came.
        """
        if origin(request.url) != origin(self._base):
            # An upload's Location on a storage host, say: no business of our credentials.
            return self._transport.send(request)
        wanted = tuple(scopes)
        used = self._authorization(repository, wanted)
        response = self._transport.send(_authorized(request, used))
        if not _refused(request, response):
            return response
        challenged = self._reconsider(response, repository, wanted)
        # Some registries say 403, without a challenge, of a token that has expired.
        renewed = (
            self._authorization(repository, wanted, refused=used) if challenged or used else ""
        )
        if not renewed or renewed == used:
            return response
        response.close()
        return self._transport.send(_authorized(request, renewed))

    def _reconsider(self, response: Response, repository: str, wanted: Scopes) -> bool:
        """Take in what a refusal says; returns whether it says anything."""
        challenge = _challenge(response)
        with self._lock:
            self._found.pop(repository, None)  # a helper may have a newer secret by now
            if challenge is None:
                return False
            self._challenge = challenge
            self._named[wanted] = tuple(challenge.get("scope").split())
            return True

    def _authorization(self, repository: str, wanted: Scopes, *, refused: str = "") -> str:
        """Return the value of ``Authorization``, other than *refused* if there is any."""
        with self._lock:
            challenge = self._challenge
            if challenge is None:
                return ""
            credential = self.credential(repository)
            if challenge.scheme == "basic":
                return credential.basic if credential is not None else ""
            if credential is not None and credential.registry_token:
                return f"Bearer {credential.registry_token}"
            return self._bearer(challenge, credential, wanted, refused)

    def _bearer(
        self, challenge: Challenge, credential: Credential | None, wanted: Scopes, refused: str
    ) -> str:
        # What the registry itself asks for stands first: some token servers grant only that.
        scopes = tuple(dict.fromkeys((*self._named.get(wanted, ()), *wanted)))
        user = credential.username if credential is not None else ""
        key = (challenge.get("realm"), challenge.get("service"), scopes, user)
        kept = self._tokens.get(key)
        if kept is None or not kept.fresh or f"Bearer {kept.value}" == refused:
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


def _refused(request: Request, response: Response) -> bool:
    # A host we were redirected to gets no credentials of ours, whatever it asks.
    return response.status in (401, 403) and origin(response.url) == origin(request.url)


def _authorized(request: Request, value: str) -> Request:
    if not value:
        return request
    return replace(request, headers=request.headers.plus({"Authorization": value}))
