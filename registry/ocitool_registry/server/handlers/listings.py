"""Lists of tags and repositories, with pagination."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ocitool_registry.server.backend import RepositoryNotFound
from ocitool_registry.server.messages import JSON, ApiError, Request, Response

if TYPE_CHECKING:
    from ocitool_registry.server.backend import Backend


def tags(backend: Backend, request: Request, repository: str) -> Response:
    """GET of the tags in ASCII order (distribution-spec, "Listing Tags")."""
    try:
        found = backend.tags(repository)
    except RepositoryNotFound as error:
        raise ApiError("NAME_UNKNOWN", error.message) from error
    page, link = _page(request, found)
    return _json_response({"name": repository, "tags": page}, link)


def catalog(backend: Backend, request: Request) -> Response:
    """GET of all repositories: an extension of Docker, used by podman search and crane."""
    page, link = _page(request, backend.repositories())
    return _json_response({"repositories": page}, link)


def _page(request: Request, names: Sequence[str]) -> tuple[list[str], str]:
    """Return the names selected by ``n`` and ``last``, and the Link to the next page."""
    last = request.argument("last")
    rest = names[bisect_right(names, last) :] if last else names
    if "n" not in request.query:
        return list(rest), ""
    text = request.argument("n")
    if not text.isascii() or not text.isdigit():
        raise ApiError("PAGINATION_NUMBER_INVALID", f"expected a number: n={text!r}")
    count = int(text[:9])
    page = list(rest[:count])
    if not page or len(rest) <= count:
        return page, ""
    query = urlencode({"n": count, "last": page[-1]})
    return page, f'<{request.path}?{query}>; rel="next"'


def _json_response(fields: dict[str, object], link: str) -> Response:
    body = json.dumps(fields).encode()
    headers = {"Content-Type": JSON, **({"Link": link} if link else {})}
    return Response(status=200, headers=headers, body=body, length=len(body))
