"""Lists: tags of a repository, repositories of the registry, page by page."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ocitool_registry.server.backend import RepositoryNotFound
from ocitool_registry.server.exchange import JSON, Call, Refusal, Reply

if TYPE_CHECKING:
    from ocitool_registry.server.backend import Backend


def tags(backend: Backend, call: Call, repository: str) -> Reply:
    """GET of the tags in ASCII order (distribution-spec, "Listing Tags")."""
    try:
        found = backend.tags(repository)
    except RepositoryNotFound as error:
        raise Refusal("NAME_UNKNOWN", error.message) from error
    page, link = _page(call, found)
    return _answer({"name": repository, "tags": page}, link)


def catalog(backend: Backend, call: Call) -> Reply:
    """GET of all repositories: Docker's addition, which podman search and crane use."""
    page, link = _page(call, backend.repositories())
    return _answer({"repositories": page}, link)


def _page(call: Call, names: Sequence[str]) -> tuple[list[str], str]:
    """Return the names asked for by ``n`` and ``last``, and the Link to those that follow."""
    last = call.argument("last")
    rest = names[bisect_right(names, last) :] if last else names
    if "n" not in call.query:
        return list(rest), ""
    text = call.argument("n")
    if not text.isascii() or not text.isdigit():
        raise Refusal("PAGINATION_NUMBER_INVALID", f"n={text!r} is not a number")
    count = int(text[:9])
    page = list(rest[:count])
    if not page or len(rest) <= count:
        return page, ""
    query = urlencode({"n": count, "last": page[-1]})
    return page, f'<{call.path}?{query}>; rel="next"'


def _answer(fields: dict[str, object], link: str) -> Reply:
    body = json.dumps(fields).encode()
    headers = {"Content-Type": JSON, **({"Link": link} if link else {})}
    return Reply(status=200, headers=headers, body=body, length=len(body))
