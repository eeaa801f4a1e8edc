"""What is pushed arrives once, whatever the registry does on the way."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ocitool.errors import (
    BlobNotFound,
    DigestMismatch,
    RegistryError,
    ResponseError,
)
from ocitool.oci.digest import Digest
from ocitool_registry import RegistrySink
from tests.conformance.registry.rules import (
    DATA,
    INDEX,
    MANIFEST,
    answer,
    describe,
    reference,
    sink,
    when,
)


def test_a_push_sends_what_is_missing_only(registry: Any) -> None:
    target = sink(registry)
    assert target.put_blob(describe(DATA), lambda: io.BytesIO(DATA)) == "done"
    assert target.put_blob(describe(DATA), lambda: io.BytesIO(b"never read")) == "exists"
    assert registry.requests("PUT") == 1


def test_an_empty_blob_is_pushed(registry: Any) -> None:
    assert sink(registry).put_blob(describe(b""), lambda: io.BytesIO(b"")) == "done"


def test_a_blob_of_another_repository_is_mounted(registry: Any) -> None:
    blob = registry.add(DATA, "b")
    target = RegistrySink(registry.client(), reference(registry), origins=lambda _: ["a", "b"])
    assert target.put_blob(blob, lambda: io.BytesIO(b"never read")) == "mounted"
    assert registry.requests("PUT") == 0


@pytest.mark.parametrize("status", ["401 X", "403 X", "404 X", "405 X", "500 X"])
def test_a_denied_mount_becomes_an_upload(registry: Any, status: str) -> None:
    def refuse(environ: dict[str, Any], start: Any) -> Any:
        if "mount=" not in environ["QUERY_STRING"]:
            return None
        return answer(status)(environ, start)

    registry.rules.append(when("POST", "/uploads/", refuse))
    target = RegistrySink(registry.client(), reference(registry), origins=lambda _: ["b"])
    assert target.put_blob(describe(DATA), lambda: io.BytesIO(DATA)) == "done"


def test_a_mount_that_began_an_upload_uses_it(registry: Any) -> None:
    target = RegistrySink(registry.client(), reference(registry), origins=lambda _: ["b"])
    assert target.put_blob(describe(DATA), lambda: io.BytesIO(DATA)) == "done"
    assert registry.requests("POST") == 1


@pytest.mark.parametrize(
    "form",
    [
        "http://{address}/v2/a/blobs/uploads/{id}",
        "/v2/a/blobs/uploads/{id}",
        "{id}",
        "//{address}/v2/a/blobs/uploads/{id}",
        "{address}/v2/a/blobs/uploads/{id}",
        "/v2/a/blobs/uploads/{id}?_state=a%2Bb%3D",
    ],
)
def test_locations_take_many_forms(registry: Any, form: str) -> None:
    queries = []

    def begin(environ: dict[str, Any], start: Any) -> Any:
        upload = registry.backend.begin_upload("a")
        location = form.format(address=registry.address, id=upload)
        return answer("202 Accepted", Location=location)(environ, start)

    def note(environ: dict[str, Any], start: Any) -> Any:
        queries.append(environ["QUERY_STRING"])

    registry.rules += [when("POST", "/uploads/", begin), when("PUT", "/uploads/", note)]
    assert sink(registry).put_blob(describe(DATA), lambda: io.BytesIO(DATA)) == "done"
    digest = f"digest=sha256%3A{Digest.of(DATA).encoded}"
    assert queries == [f"_state=a%2Bb%3D&{digest}" if "_state" in form else digest]


def test_an_upload_without_location_is_an_error(registry: Any) -> None:
    registry.rules.append(when("POST", "/uploads/", answer("202 Accepted")))
    with pytest.raises(RegistryError, match="missing Location"):
        sink(registry).put_blob(describe(DATA), lambda: io.BytesIO(DATA))


@pytest.mark.parametrize("status", ["500 X", "502 X", "404 X", "416 X"])
def test_a_failed_put_starts_a_new_upload(registry: Any, status: str) -> None:
    registry.rules.append(when("PUT", "/uploads/", answer(status), times=1))
    opened = []

    def open() -> Any:
        opened.append(1)
        return io.BytesIO(DATA)

    assert sink(registry).put_blob(describe(DATA), open) == "done"
    assert len(opened) == 2
    assert registry.requests("POST") == 2


def test_a_lost_response_is_detected(registry: Any) -> None:
    def lose(environ: dict[str, Any], start: Any) -> Any:
        list(registry.well(environ, lambda *_: None))
        return answer("504 Gateway Timeout")(environ, start)

    registry.rules.append(when("PUT", "/uploads/", lose, times=1))
    assert sink(registry).put_blob(describe(DATA), lambda: io.BytesIO(DATA)) == "done"
    assert registry.requests("PUT") == 1


def test_a_body_too_large_for_a_proxy_is_an_error_at_once(registry: Any) -> None:
    registry.rules.append(when("PUT", "/uploads/", answer("413 Too Large", b"<h1>nginx</h1>")))
    with pytest.raises(ResponseError, match="nginx") as caught:
        sink(registry).put_blob(describe(DATA), lambda: io.BytesIO(DATA))
    assert caught.value.status == 413
    assert registry.requests("PUT") == 1


def test_wrong_content_is_rejected_by_the_registry(registry: Any) -> None:
    wrong = b"x" + DATA[1:]
    with pytest.raises(ResponseError) as caught:
        sink(registry).put_blob(describe(DATA), lambda: io.BytesIO(wrong))
    assert caught.value.code == "DIGEST_INVALID"


def test_content_that_is_too_short_is_not_published(registry: Any) -> None:
    with pytest.raises(RegistryError, match="before the expected"):
        sink(registry).put_blob(describe(DATA), lambda: io.BytesIO(DATA[:-1]))
    with pytest.raises(BlobNotFound):
        registry.backend.blob_size("a", Digest.of(DATA))


def test_content_that_is_too_long_is_an_error(registry: Any) -> None:
    with pytest.raises(RegistryError, match="larger than the expected"):
        sink(registry).put_blob(describe(DATA), lambda: io.BytesIO(DATA + b"x"))


def test_a_registry_that_stored_other_bytes_is_detected(registry: Any) -> None:
    rule = answer("201 Created", Docker_Content_Digest=str(Digest.of(b"other")))
    registry.rules.append(when("PUT", "/manifests/", rule))
    with pytest.raises(DigestMismatch):
        registry.client().put_manifest("a", "1", MANIFEST, INDEX)


def test_one_connection_serves_a_whole_push(registry: Any) -> None:
    ports = set()

    def note(environ: dict[str, Any], start: Any) -> None:
        ports.add(environ["REMOTE_PORT"])

    registry.rules.append(note)
    target = sink(registry)
    for data in (DATA, DATA[1:], b"x"):
        assert target.put_blob(describe(data), lambda data=data: io.BytesIO(data)) == "done"
        assert target.has(describe(data))
    assert len(ports) == 1
