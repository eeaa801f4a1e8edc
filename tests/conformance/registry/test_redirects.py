"""Redirects are followed, and credentials are not taken along."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from ocitool.errors import NotFound, RegistryError
from ocitool.oci.digest import Digest
from ocitool_registry.auth.keychain import Fixed
from tests.conformance.registry.rules import (
    DATA,
    SECRET,
    answer,
    describe,
    read,
    sink,
    source,
    when,
)


def test_credentials_do_not_follow_a_redirect(start_registry: Any) -> None:
    front, storage = start_registry(), start_registry()
    blob = storage.add(DATA)

    def basic(environ: dict[str, Any], start: Any) -> Any:
        if environ.get("HTTP_AUTHORIZATION") == SECRET.basic:
            return None
        return answer("401 X", WWW_Authenticate='Basic realm="r"')(environ, start)

    def refuse(environ: dict[str, Any], start: Any) -> Any:
        if "HTTP_AUTHORIZATION" in environ:
            return answer("400 Only one auth mechanism allowed")(environ, start)
        return None

    target = f"http://{storage.address}/v2/a/blobs/{blob.digest}"
    front.rules.append(basic)
    front.rules.append(when("GET", "/blobs/", answer("307 X", Location=target)))
    storage.rules.append(refuse)
    assert read(source(front, credentials=Fixed(SECRET)).open(blob)) == DATA


def test_a_redirect_loop_ends(registry: Any) -> None:
    registry.rules.append(when("GET", "/tags/", answer("302 X", Location="/v2/a/tags/list")))
    with pytest.raises(RegistryError, match="redirects"):
        list(registry.client().tags("a"))


def test_a_redirected_upload_stays_an_upload(start_registry: Any) -> None:
    front, storage = start_registry(), start_registry()

    def elsewhere(environ: dict[str, Any], start: Any) -> Any:
        query = environ["QUERY_STRING"]
        target = f"http://{storage.address}{environ['PATH_INFO']}" + (query and f"?{query}")
        return answer("302 X", Location=target)(environ, start)

    front.rules.append(when("POST", "/uploads/", elsewhere))
    assert sink(front).put_blob(describe(DATA), lambda: io.BytesIO(DATA)) == "done"
    assert storage.backend.blob_size("a", Digest.of(DATA)) == len(DATA)


def test_urls_of_a_descriptor_are_not_used(start_registry: Any) -> None:
    """CVE-2020-15157: whoever made an image would be sent the reader's credentials."""
    front, elsewhere = start_registry(), start_registry()
    blob = elsewhere.add(DATA)
    named = replace(blob, urls=(f"http://{elsewhere.address}/v2/a/blobs/{blob.digest}",))
    with pytest.raises(NotFound):
        read(source(front, credentials=Fixed(SECRET)).open(named))
    assert front.seen
    assert elsewhere.seen == []
