"""Bearer tokens: asked for at the realm a challenge names, kept while they last."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ocitool.errors import AuthError, RegistryError
from ocitool_registry import limits
from ocitool_registry.auth.credential import Credential
from ocitool_registry.client.responses import bounded
from ocitool_registry.protocol import with_query
from ocitool_registry.transport.errors import failure
from ocitool_registry.transport.http import Headers, Request, Response, redacted
from ocitool_registry.transport.urls import guard, is_loopback, split

if TYPE_CHECKING:
    from ocitool_registry.auth.challenge import Challenge
    from ocitool_registry.transport.requests import Transport

_SHORTEST: Final = 60.0  # seconds; also the life of a token that does not say (docker's token spec)
_LONGEST: Final = 1e9  # seconds; what claims to last longer is not believed
_USED: Final = 0.8  # of a token's life; the rest is for requests that are under way
_CLIENT: Final = "ocitool"
#: Token servers that do not take a POST say so by these; a GET is asked then.
_NO_POST: Final = frozenset({400, 401, 404, 405})
#: The user that Azure's token servers take an identity token from in a GET.
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and until when, on this machine's monotonic clock, it is used."""

    value: str = field(repr=False)
    until: float  # seconds

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
    """Ask the realm of *challenge* for a token that is good for *scopes*.

    Args:
        base: the registry's own address, which decides where a realm may be.
        credential: who asks; ``None`` for nobody in particular.
        insecure: whether a realm may be asked in plain HTTP.

    Raises:
        AuthError: the realm refuses, or is no place to send credentials to.
        TransportError: the realm cannot be reached.
    """
    realm = _realm(base, challenge, insecure=insecure)
    service = challenge.get("service")
    if credential is not None and credential.identity_token:
        request = _exchange(realm, service, scopes, credential.identity_token)
        response = transport.send(request)
        if response.status not in _NO_POST:
            return _token(request, response, credential)
        response.close()
    request = _ask(realm, service, scopes, credential)
    return _token(request, transport.send(request), credential)


def _realm(base: str, challenge: Challenge, *, insecure: bool) -> str:
    realm = challenge.get("realm")
    where = redacted(base)
    try:
        parts = split(realm)
        # From an https registry this also refuses a realm without encryption.
        guard(base, realm)
    except RegistryError as error:
        raise AuthError(error.message, where=where, hint=error.hint) from error
    near = is_loopback(parts.hostname or "")
    if parts.scheme != "https" and not (insecure or near):
        raise AuthError(
            f"the token server {redacted(realm)} is not encrypted",
            where=where,
            hint="credentials are sent there; if that is meant, give --tls-verify=false",
        )
    return realm


def _exchange(realm: str, service: str, scopes: Sequence[str], secret: str) -> Request:
    """Return the POST that turns an identity token into a bearer token (OAuth2, RFC 6749)."""
    form = {
        "grant_type": "refresh_token",
        "service": service,
        "client_id": _CLIENT,
        "scope": " ".join(scopes),
        "refresh_token": secret,
    }
    headers = Headers([("Content-Type", "application/x-www-form-urlencoded")])
    body = urlencode(form).encode()
    return Request(method="POST", url=realm, headers=headers, body=body, stays=True)


def _ask(realm: str, service: str, scopes: Sequence[str], credential: Credential | None) -> Request:
    url = with_query(realm, service=service) if service else realm
    for scope in scopes:
        url = with_query(url, scope=scope)
    if credential is None:
        return Request(method="GET", url=url)
    if credential.identity_token:
        user = credential.username or _NOBODY
        credential = Credential(username=user, password=credential.identity_token)
    url = with_query(url, account=credential.username)
    headers = Headers([("Authorization", credential.basic)])
    return Request(method="GET", url=url, headers=headers)


def _token(request: Request, response: Response, credential: Credential | None) -> Token:
    if not response.ok:
        error = failure(request, response)
        who = "an unknown user" if credential is None else f"the credentials of {credential.origin}"
        raise AuthError(
            f"the token server refuses {who}: {error.message}",
            where=error.where,
            hint="log in again: ocitool login" if credential is not None else "log in first",
        ) from error
    where = f"{request.method} {request.safe_url}"
    with response:
        fields = _object(bounded(response, limits.TOKEN_REPLY), where)
    # Both names are in use, and either may be there and empty.
    value = fields.get("token") or fields.get("access_token")
    if not value or not isinstance(value, str):
        raise AuthError("the token server's answer holds no token", where=where)
    lasts = fields.get("expires_in")
    seconds = _SHORTEST
    if isinstance(lasts, int | float) and _SHORTEST < lasts < _LONGEST:
        seconds = float(lasts)
    # issued_at is by the server's clock, which may be wrong; ours began at the answer.
    return Token(value, time.monotonic() + seconds * _USED)


def _object(body: bytes, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AuthError("the token server's answer is not JSON", where=where) from error
    if not isinstance(fields, dict):
        raise AuthError("the token server's answer is not a JSON object", where=where)
    return fields
