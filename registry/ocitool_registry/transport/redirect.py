"""A transport that follows redirects as the distribution spec wants it.

requests' own turns a POST into a GET and decides by other rules where credentials go.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ocitool.errors import RegistryError
from ocitool_registry import limits
from ocitool_registry.transport.http import redacted
from ocitool_registry.transport.urls import follow, origin

if TYPE_CHECKING:
    from ocitool_registry.transport.http import Request, Response
    from ocitool_registry.transport.requests import Transport

_STATUSES: Final = frozenset({301, 302, 303, 307, 308})


class Redirecting:
    """Follows redirects, the credentials left behind where scheme, host or port change.

    Method and body stay as they are, whatever the status: a registry that redirects an upload
    means the upload.  `ocitool_registry.transport.urls.guard` says which jumps are refused.

    Source: OCI distribution-spec v1.1, "Redirects": Authorization must not cross hosts.
    """

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    def send(self, request: Request) -> Response:
        """Send *request*, and again to each place the answer points to; at most 10 times."""
        for _ in range(limits.REDIRECTS + 1):
            response = self._inner.send(request)
            location = response.headers.get("Location", "")
            if response.status not in _STATUSES or not location:
                return response
            response.close()
            request = _moved(request, follow(request.url, location))
        raise RegistryError(
            f"more than {limits.REDIRECTS} redirects", where=f"{request.method} {request.safe_url}"
        )


def _moved(request: Request, url: str) -> Request:
    headers = request.headers
    if origin(url) != origin(request.url):
        if request.stays:
            raise RegistryError(
                f"refuses to follow to another host: {redacted(url)}",
                where=f"{request.method} {request.safe_url}",
            )
        headers = headers.without("Authorization")
    return replace(request, url=url, headers=headers)
