"""Bearer tokens: fetched from the token server (realm) of a challenge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ocitool.errors import AuthError, RegistryError
from ocitool.oci.json_text import parse_json
from ocitool_registry import limits
from ocitool_registry.auth.credential import Credential
from ocitool_registry.client.responses import bounded
from ocitool_registry.protocol import with_query
from ocitool_registry.transport.errors import failure
from ocitool_registry.transport.http import Headers, Request, Response, redacted
from ocitool_registry.transport.urls import is_loopback, require_safe_target, split_url

if TYPE_CHECKING:
    from ocitool_registry.auth.challenge import Challenge
    from ocitool_registry.transport.requests import Transport

_SHORTEST: Final = 60.0  # seconds; the default lifetime of a token (docker's token spec)
_LONGEST: Final = 1e9  # seconds; a longer lifetime is ignored
_USED: Final = 0.8  # of a token's lifetime; the rest is a margin for running requests
_CLIENT: Final = "ocitool"
#: Statuses of token servers that do not support POST; GET is used then.
_NO_POST: Final = frozenset({400, 401, 404, 405})
#: The user name for an identity token in a GET request (Azure).
_TOKEN_USER: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, and until when it is used."""

    value: str = field(repr=False)
    until: float  # seconds of the monotonic clock

    @property
    def fresh(self) -> bool:
        return time.monotonic() < self.until


def fetch(
    transport: Transport,
    base: str,
    challenge: Challenge,
    scopes: Sequence[str],
    credential: Credential | None,
    *,
    insecure: bool,
) -> Token:
    """Fetch a token for *scopes* from the token server of *challenge*.

    Args:
        base: the registry's URL; it determines which URLs of a token server are allowed.
        credential: ``None`` for anonymous access.
        insecure: whether the token server may use plain HTTP.

    Raises:
        AuthError: the token server denied the request, or its URL is not allowed.
        TransportError: the token server cannot be reached.
    """
    realm = _realm(base, challenge, insecure=insecure)
    service = challenge.get("service")
    if credential is not None and credential.identity_token:
        request = _oauth_request(realm, service, scopes, credential.identity_token)
        response = transport.send(request)
        if response.status not in _NO_POST:
            return _token(request, response, credential)
        response.close()
    request = _token_request(realm, service, scopes, credential)
    return _token(request, transport.send(request), credential)


def _realm(base: str, challenge: Challenge, *, insecure: bool) -> str:
    realm = challenge.get("realm")
    where = redacted(base)
    try:
        parts = split_url(realm)
        # This also rejects plain HTTP for a token server of a registry that uses HTTPS.
        require_safe_target(base, realm)
    except RegistryError as error:
        raise AuthError(error.message, where=where, hint=error.hint) from error
    loopback = is_loopback(parts.hostname or "")
    if parts.scheme != "https" and not (insecure or loopback):
        raise AuthError(
            f"the token server {redacted(realm)} does not use HTTPS",
            where=where,
            hint="use --tls-verify=false to send credentials over plain HTTP",
        )
    return realm


def _oauth_request(realm: str, service: str, scopes: Sequence[str], secret: str) -> Request:
    """Return the POST request for a bearer token, with an identity token (OAuth2, RFC 6749)."""
    form = {
        "grant_type": "refresh_token",
        "service": service,
        "client_id": _CLIENT,
        "scope": " ".join(scopes),
        "refresh_token": secret,
    }
    headers = Headers([("Content-Type", "application/x-www-form-urlencoded")])
    body = urlencode(form, errors="surrogateescape").encode()
    return Request(method="POST", url=realm, headers=headers, body=body, same_host=True)


def _token_request(
    realm: str, service: str, scopes: Sequence[str], credential: Credential | None
) -> Request:
    url = with_query(realm, service=service) if service else realm
    for scope in scopes:
        url = with_query(url, scope=scope)
    if credential is None:
        return Request(method="GET", url=url)
    if credential.identity_token:
        user = credential.username or _TOKEN_USER
        credential = Credential(username=user, password=credential.identity_token)
    url = with_query(url, account=credential.username)
    headers = Headers([("Authorization", credential.basic)])
    return Request(method="GET", url=url, headers=headers)


def _token(request: Request, response: Response, credential: Credential | None) -> Token:
    if not response.ok:
        error = failure(request, response)
        user = (
            "anonymous access" if credential is None else f"the credentials of {credential.origin}"
        )
        raise AuthError(
            f"token server denied {user}: {error.message}",
            where=error.where,
            hint="run `ocitool login`",
        ) from error
    where = f"{request.method} {request.safe_url}"
    with response:
        fields = _object(bounded(response, limits.TOKEN_REPLY), where)
    # Both names are in use, and either may be empty.
    value = fields.get("token") or fields.get("access_token")
    if not value or not isinstance(value, str):
        raise AuthError("missing token in the response of the token server", where=where)
    lifetime = fields.get("expires_in")
    seconds = _SHORTEST
    if isinstance(lifetime, int | float) and _SHORTEST < lifetime < _LONGEST:
        seconds = float(lifetime)
    # Counted from now: issued_at is of the server's clock, which may be wrong.
    return Token(value, time.monotonic() + seconds * _USED)


def _object(body: bytes, where: str) -> dict[str, Any]:
    try:
        fields = parse_json(body)
    except ValueError as error:
        raise AuthError("invalid JSON in the response of the token server", where=where) from error
    if not isinstance(fields, dict):
        raise AuthError("expected a JSON object in the response of the token server", where=where)
    return fields
