"""A transport that follows redirects as the distribution spec requires.

The requests library changes a POST to a GET, and has other rules for credentials.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ocitool.errors import RegistryError
from ocitool_registry import limits
from ocitool_registry.transport.http import redacted
from ocitool_registry.transport.urls import origin, resolve_location

if TYPE_CHECKING:
    from ocitool_registry.transport.http import Request, Response
    from ocitool_registry.transport.requests import Transport

_STATUSES: Final = frozenset({301, 302, 303, 307, 308})


class Redirecting:
    """Follows redirects; credentials are removed if scheme, host or port change.

    Method and body are kept for every status, since registries redirect uploads with all of them.
    `ocitool_registry.transport.urls.require_safe_target` defines which redirects are not allowed.

    Source: OCI distribution-spec v1.1, "Redirects": Authorization must not cross hosts.
    """

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    def send(self, request: Request) -> Response:
        """Send *request* and follow up to 10 redirects."""
        for _ in range(limits.REDIRECTS + 1):
            response = self._inner.send(request)
            location = response.headers.get("Location", "")
            if response.status not in _STATUSES or not location:
                return response
            response.close()
            request = _moved(request, resolve_location(request.url, location))
        raise RegistryError(
            f"more than {limits.REDIRECTS} redirects", where=f"{request.method} {request.safe_url}"
        )


def _moved(request: Request, url: str) -> Request:
    headers = request.headers
    if origin(url) != origin(request.url):
        if request.same_host:
            raise RegistryError(
                f"redirect to another host is not allowed: {redacted(url)}",
                where=f"{request.method} {request.safe_url}",
            )
        headers = headers.without("Authorization")
    return replace(request, url=url, headers=headers)
