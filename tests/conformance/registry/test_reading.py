"""What is pulled is whole and right, or the error says what it was."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs

import pytest

from ocitool.errors import (
    BadManifest,
    BlobNotFound,
    DigestMismatch,
    ImageNotFound,
    RegistryError,
    ResponseError,
    TransportError,
)
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.mediatypes import OCI_CONFIG
from ocitool_registry import limits
from tests.conformance.registry.rules import (
    DATA,
    INDEX,
    MANIFEST,
    answer,
    cut,
    describe,
    read,
    source,
    when,
)


def test_a_pull_is_verified(registry: Any) -> None:
    assert read(source(registry).open(registry.add(DATA))) == DATA


@pytest.mark.parametrize("status", ["429 X", "500 X", "502 X", "503 X", "504 X", "408 X"])
def test_a_temporary_failure_is_retried(registry: Any, slept: list[float], status: str) -> None:
    blob = registry.add(DATA)
    registry.rules.append(when("GET", "/blobs/", answer(status), times=2))
    assert read(source(registry).open(blob)) == DATA
    assert len(slept) == 2


@pytest.mark.parametrize("asked", ["7", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_retry_after_is_respected(registry: Any, slept: list[float], asked: str) -> None:
    registry.add(DATA)
    rule = answer("429 Too Many Requests", Retry_After=asked)
    registry.rules.append(when("GET", "/tags/", rule, times=1))
    assert list(registry.client().tags("a")) == []
    assert slept == [7.0 if asked == "7" else 0.0]


def test_a_long_retry_after_ends_the_retries(registry: Any, slept: list[float]) -> None:
    registry.rules.append(when("GET", "/tags/", answer("429 X", Retry_After="86400")))
    with pytest.raises(ResponseError, match="429") as caught:
        list(registry.client().tags("a"))
    assert caught.value.retryable
    assert "wait" in caught.value.hint
    assert slept == []


def test_permanent_failures_are_raised(registry: Any, slept: list[float]) -> None:
    registry.rules.append(when("GET", "/tags/", answer("503 X")))
    with pytest.raises(ResponseError) as caught:
        list(registry.client().tags("a"))
    assert caught.value.status == 503
    assert len(slept) == 4


@pytest.mark.parametrize("after", [1, 1_500_000, len(DATA) - 1])
def test_a_dropped_connection_is_resumed(registry: Any, after: int) -> None:
    blob = registry.add(DATA)
    rule = cut(after)
    registry.rules.append(when("GET", "/blobs/", lambda e, s: rule(e, s, registry), times=1))
    assert read(source(registry).open(blob)) == DATA
    *_, (_, _, headers) = registry.seen
    # urllib3 may keep back what it read before the fault: a little is sent twice, never less.
    first = int(headers["RANGE"].removeprefix("bytes=").removesuffix("-")) if after > 1 else 0
    assert first <= after


def test_a_registry_without_ranges_is_resumed(registry: Any) -> None:
    blob = registry.add(DATA)
    rule = cut(2_000_000)
    registry.rules.append(when("GET", "/blobs/", lambda e, s: rule(e, s, registry), times=1))

    def whole(environ: dict[str, Any], start: Any) -> Any:
        environ.pop("HTTP_RANGE", None)

    registry.rules.append(whole)
    assert read(source(registry).open(blob)) == DATA


def test_a_connection_that_always_drops_is_an_error(registry: Any, slept: list[float]) -> None:
    blob = registry.add(DATA)
    rule = cut(0)
    registry.rules.append(when("GET", "/blobs/", lambda e, s: rule(e, s, registry)))
    with pytest.raises(TransportError):
        read(source(registry).open(blob))


def test_wrong_bytes_are_found(registry: Any) -> None:
    blob = registry.add(DATA)
    wrong = b"x" + DATA[1:]
    registry.rules.append(when("GET", "/blobs/", answer("200 OK", wrong)))
    with pytest.raises(DigestMismatch):
        read(source(registry).open(blob))


def test_too_many_bytes_are_found(registry: Any) -> None:
    blob = registry.add(DATA)
    registry.rules.append(when("GET", "/blobs/", answer("200 OK", DATA + b"x")))
    with pytest.raises(DigestMismatch, match="more than"):
        read(source(registry).open(blob))


def test_too_few_bytes_are_found(registry: Any) -> None:
    blob = registry.add(DATA)
    registry.rules.append(when("GET", "/blobs/", answer("200 OK", DATA[:-1])))
    with pytest.raises(TransportError, match="unexpected end of the response after"):
        read(source(registry).open(blob))


def test_a_missing_blob_is_reported(registry: Any) -> None:
    with pytest.raises(BlobNotFound):
        source(registry).open(describe(b"nothing"))


def test_a_missing_image_is_reported(registry: Any) -> None:
    with pytest.raises(ImageNotFound):
        source(registry).resolve()


def test_content_types_may_have_parameters(registry: Any) -> None:
    rule = answer("200 OK", MANIFEST, Content_Type=f"{INDEX};charset=ISO-8859-1")
    registry.rules.append(when("GET", "/manifests/", rule))
    registry.rules.append(when("HEAD", "/manifests/", answer("404 Not Found")))
    found, raw = registry.client().get_manifest("a", "1")
    assert found.media_type == INDEX
    assert raw == MANIFEST


@pytest.mark.parametrize("head", ["200 OK", "405 Method Not Allowed"])
def test_a_head_response_without_digest_or_size_becomes_a_get(registry: Any, head: str) -> None:
    registry.rules.append(when("HEAD", "/manifests/", answer(head)))
    rule = answer("200 OK", MANIFEST, Content_Type=INDEX)
    registry.rules.append(when("GET", "/manifests/", rule))
    found = source(registry).resolve()
    assert found.digest == Digest.of(MANIFEST)
    assert found.size == len(MANIFEST)


def test_a_manifest_with_another_digest_is_an_error(registry: Any) -> None:
    registry.rules.append(when("GET", "/manifests/", answer("200 OK", MANIFEST)))
    with pytest.raises(DigestMismatch):
        registry.client().get_manifest("a", Digest.of(b"another"))


def test_an_endless_manifest_is_an_error(registry: Any) -> None:
    registry.rules.append(when("GET", "/manifests/", answer("200 OK", b" " * (5 << 20))))
    with pytest.raises(RegistryError, match="larger than"):
        registry.client().get_manifest("a", "1")


def test_a_web_page_is_shortened(registry: Any) -> None:
    page = b"<html><style>b {}</style><body><h1>Bad\nGateway</h1>" + b"<p>sorry</p>" * 1000
    registry.rules.append(when("GET", "/tags/", answer("400 X", page, Content_Type="text/html")))
    with pytest.raises(ResponseError) as caught:
        list(registry.client().tags("a"))
    assert caught.value.detail.startswith("Bad Gateway sorry")
    assert len(str(caught.value)) < 400
    assert "<" not in caught.value.detail


def test_an_error_has_method_url_status_and_code(registry: Any) -> None:
    body = b'{"errors":[{"code":"NAME_INVALID","message":"bad name"}]}'
    registry.rules.append(when("GET", "/tags/", answer("400 X", body)))
    with pytest.raises(ResponseError) as caught:
        list(registry.client().tags("a"))
    error = caught.value
    assert (error.status, error.code, error.detail) == (400, "NAME_INVALID", "bad name")
    assert str(error).startswith(f"GET http://{registry.address}/v2/a/tags/list: status 400")


def test_links_are_used_unchanged(registry: Any) -> None:
    def paged(environ: dict[str, Any], start: Any) -> Any:
        query = parse_qs(environ["QUERY_STRING"])
        last = not query.get("next_page")
        body = json.dumps({"tags": ["a"] if last else ["b"]}).encode()
        link = [("Link", '</v2/a/tags/list?next_page=op%3Daque>; rel="next"')] if last else []
        start("200 OK", [("Content-Length", str(len(body))), *link])
        return [body]

    registry.rules.append(when("GET", "/tags/", paged))
    assert list(registry.client().tags("a")) == ["a", "b"]


def test_a_link_to_itself_ends(registry: Any) -> None:
    rule = answer("200 OK", b'{"tags":["a"]}', Link='</v2/a/tags/list>; rel="next"')
    registry.rules.append(when("GET", "/tags/", rule))
    assert list(registry.client().tags("a")) == ["a"]


@pytest.mark.parametrize("body", [b'{"tags":null}', b"{}"])
def test_no_tags_may_be_null_or_missing(registry: Any, body: bytes) -> None:
    registry.rules.append(when("GET", "/tags/", answer("200 OK", body)))
    assert list(registry.client().tags("a")) == []


# -- answers without measure ---------------------------------------------------------------


def endless(registry: Any, names: list[str]) -> None:
    """Have *registry* link each page of its tags to another one."""
    pages = []

    def page(environ: dict[str, Any], start: Any) -> Any:
        pages.append(1)
        link = f'</v2/a/tags/list?last={len(pages)}>; rel="next"'
        return answer("200 OK", json.dumps({"tags": names}).encode(), Link=link)(environ, start)

    registry.rules.append(when("GET", "/tags/", page))


def test_endless_pages_are_an_error(registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LISTING_PAGES", 20)
    endless(registry, [])
    with pytest.raises(RegistryError, match="more than 20 pages"):
        list(registry.client().tags("a"))


def test_an_endless_listing_is_an_error(registry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LISTING", 1000)
    endless(registry, ["x" * 100])
    with pytest.raises(RegistryError, match="response is larger than"):
        list(registry.client().tags("a"))


def test_a_huge_link_is_ignored(registry: Any) -> None:
    rule = answer("200 OK", b'{"tags":["a"]}', Link="<" * 60_000)
    registry.rules.append(when("GET", "/tags/", rule))
    began = time.monotonic()
    assert list(registry.client().tags("a")) == ["a"]
    assert time.monotonic() - began < 10


def test_no_more_than_the_announced_size_is_read(registry: Any) -> None:
    raw = b" " * 100_000
    registry.rules.append(when("GET", "/manifests/", answer("200 OK", raw)))
    announced = Descriptor(media_type=INDEX, digest=Digest.of(raw[:10]), size=10)
    with pytest.raises(RegistryError, match="response is larger than 10 bytes"):
        source(registry).fetch(announced)


@pytest.mark.parametrize("media_type", [INDEX, OCI_CONFIG])
def test_content_announced_as_too_large_is_not_fetched(registry: Any, media_type: str) -> None:
    announced = Descriptor(media_type=media_type, digest=Digest.of(b""), size=(4 << 20) + 1)
    with pytest.raises(BadManifest, match="4194305 bytes, and the limit is 4194304") as caught:
        source(registry).fetch(announced)
    assert str(announced.digest) in str(caught.value)
    assert registry.seen == []
