"""The server's answers, without a socket: calls in, replies out."""

from __future__ import annotations

import io
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from ocitool.errors import StoreError
from ocitool.oci.digest import Digest
from ocitool_registry.server.app import handle
from ocitool_registry.server.memory_backend import MemoryBackend
from ocitool_registry.server.messages import Request
from ocitool_registry.transport.http import Headers

DATA = b"0123456789" * 1000
DIGEST = Digest.of(DATA)
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
INDEX = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}).encode()


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def ask(backend):
    def send(method, url, body=b"", **headers):
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True)
        request = Request(
            method=method,
            path=parts.path,
            query={name: tuple(values) for name, values in query.items()},
            headers=Headers((name.replace("_", "-"), value) for name, value in headers.items()),
            body=io.BytesIO(body),
            length=len(body),
        )
        return handle(backend, request)

    return send


def code(response):
    return response.status, json.loads(response.body)["errors"][0]["code"]


def body(response):
    return (
        response.body if isinstance(response.body, bytes) else response.body.read(response.length)
    )


def test_the_ping(ask):
    assert ask("GET", "/v2/").status == ask("HEAD", "/v2").status == 200


def test_a_blob_in_two_requests(ask):
    begun = ask("POST", "/v2/a/b/blobs/uploads/")
    assert begun.status == 202
    done = ask("PUT", f"{begun.headers['Location']}?digest={DIGEST}", DATA)
    assert (done.status, done.headers["Location"]) == (201, f"/v2/a/b/blobs/{DIGEST}")
    assert body(ask("GET", done.headers["Location"])) == DATA
    head = ask("HEAD", done.headers["Location"])
    assert (head.length, head.headers["Docker-Content-Digest"]) == (len(DATA), str(DIGEST))


def test_a_blob_in_one_request(ask):
    assert ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA).status == 201
    assert ask("HEAD", f"/v2/a/blobs/{DIGEST}").status == 200


def test_wrong_content_in_one_request_leaves_nothing(ask, backend):
    response = ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", b"other")
    assert code(response) == (400, "DIGEST_INVALID")
    assert len(backend._uploads) == 0


def test_a_blob_in_chunks(ask):
    place = ask("POST", "/v2/a/blobs/uploads/").headers["Location"]
    assert ask("PATCH", place, DATA[:10], Content_Range="0-9").headers["Range"] == "0-9"
    late = ask("PATCH", place, DATA[20:], Content_Range="20-9999")
    assert code(late) == (416, "RANGE_INVALID")
    assert (late.headers["Range"], late.headers["Location"]) == ("0-9", place)
    assert ask("PATCH", place, DATA[:10], Content_Range="0-9").status == 416
    assert ask("GET", place).headers["Range"] == "0-9"
    last = f"10-{len(DATA) - 1}"
    assert ask("PUT", f"{place}?digest={DIGEST}", DATA[10:], Content_Range="11-20").status == 400
    assert ask("PUT", f"{place}?digest={DIGEST}", DATA[10:], Content_Range=last).status == 201
    assert code(ask("GET", place)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_an_upload_is_cancelled(ask):
    place = ask("POST", "/v2/a/blobs/uploads/").headers["Location"]
    assert ask("DELETE", place).status == 204
    assert ask("DELETE", place).status == 404


def test_wrong_content_is_not_published(ask):
    place = ask("POST", "/v2/a/blobs/uploads/").headers["Location"]
    assert code(ask("PUT", f"{place}?digest={DIGEST}", b"other")) == (400, "DIGEST_INVALID")
    assert code(ask("GET", f"/v2/a/blobs/{DIGEST}")) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("text", ["", "x", "sha256:1", "md5:" + "0" * 32])
def test_an_invalid_digest_is_rejected(ask, text):
    place = ask("POST", "/v2/a/blobs/uploads/").headers["Location"]
    assert code(ask("PUT", f"{place}?digest={text}", DATA)) == (400, "DIGEST_INVALID")


def test_a_mount(ask):
    ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA)
    assert ask("POST", f"/v2/b/blobs/uploads/?mount={DIGEST}&from=a").status == 201
    assert ask("POST", f"/v2/c/blobs/uploads/?mount={DIGEST}").status == 201
    assert body(ask("GET", f"/v2/b/blobs/{DIGEST}")) == DATA
    missing = ask("POST", f"/v2/b/blobs/uploads/?mount={Digest.of(b'x')}&from=a")
    assert (missing.status, "Location" in missing.headers) == (202, True)


@pytest.mark.parametrize(
    ("header", "want", "place"),
    [
        ("bytes=500-1499", DATA[500:1500], "bytes 500-1499/10000"),
        ("bytes=500-", DATA[500:], "bytes 500-9999/10000"),
        ("bytes=-500", DATA[-500:], "bytes 9500-9999/10000"),
        ("bytes=9000-20000", DATA[9000:], "bytes 9000-9999/10000"),
    ],
)
def test_ranges_of_a_blob(ask, header, want, place):
    ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA)
    response = ask("GET", f"/v2/a/blobs/{DIGEST}", Range=header)
    assert (response.status, response.headers["Content-Range"]) == (206, place)
    assert (response.length, body(response)) == (len(want), want)


@pytest.mark.parametrize("header", ["bytes=500-0", "bytes=10000-"])
def test_ranges_outside_a_blob(ask, header):
    ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA)
    response = ask("GET", f"/v2/a/blobs/{DIGEST}", Range=header)
    assert code(response) == (416, "RANGE_INVALID")
    assert response.headers["Content-Range"] == "bytes */10000"


def test_a_range_with_another_entity_tag_returns_the_whole_blob(ask):
    ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA)
    response = ask("GET", f"/v2/a/blobs/{DIGEST}", Range="bytes=5-", If_Range='"older"')
    assert (response.status, response.length) == (200, len(DATA))
    response = ask("GET", f"/v2/a/blobs/{DIGEST}", Range="bytes=5-", If_Range=f'"{DIGEST}"')
    assert response.status == 206


def test_a_blob_is_deleted(ask):
    ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA)
    assert ask("DELETE", f"/v2/a/blobs/{DIGEST}").status == 202
    assert ask("DELETE", f"/v2/a/blobs/{DIGEST}").status == 404


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_manifest_by_digest(ask, algorithm):
    digest = Digest.of(INDEX, algorithm)
    put = ask("PUT", f"/v2/a/manifests/{digest}", INDEX, Content_Type=INDEX_TYPE)
    assert (put.status, put.headers["Docker-Content-Digest"]) == (201, str(digest))
    response = ask("GET", put.headers["Location"])
    assert (body(response), response.headers["Content-Type"]) == (INDEX, INDEX_TYPE)
    assert ask("DELETE", put.headers["Location"]).status == 202
    assert code(ask("GET", put.headers["Location"])) == (404, "MANIFEST_UNKNOWN")


def test_a_manifest_by_tag(ask):
    content_type = f"{INDEX_TYPE}; charset=utf-8"
    assert ask("PUT", "/v2/a/manifests/1.0", INDEX, Content_Type=content_type).status == 201
    head = ask("HEAD", "/v2/a/manifests/1.0")
    assert (head.length, head.body) == (len(INDEX), b"")
    assert ask("DELETE", "/v2/a/manifests/1.0").status == 202
    assert ask("GET", f"/v2/a/manifests/{Digest.of(INDEX)}").status == 200


@pytest.mark.parametrize(
    ("raw", "content_type", "want"),
    [
        (INDEX, "", (400, "MANIFEST_INVALID")),
        (INDEX, MANIFEST_TYPE, (400, "MANIFEST_INVALID")),
        (b"{", INDEX_TYPE, (400, "MANIFEST_INVALID")),
        (b" " * (4 * 1024 * 1024 + 1), INDEX_TYPE, (413, "SIZE_INVALID")),
    ],
)
def test_an_invalid_manifest_is_rejected(ask, raw, content_type, want):
    assert code(ask("PUT", "/v2/a/manifests/1", raw, Content_Type=content_type)) == want


def test_a_manifest_with_another_digest_is_rejected(ask):
    response = ask("PUT", f"/v2/a/manifests/{DIGEST}", INDEX, Content_Type=INDEX_TYPE)
    assert code(response) == (400, "DIGEST_INVALID")


def test_an_image_with_missing_layers_is_rejected(ask):
    blob = {"mediaType": "application/x", "digest": str(DIGEST), "size": len(DATA)}
    foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    far = {"mediaType": foreign, "digest": str(Digest.of(b"x")), "size": 1}
    image = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": blob, "layers": [far]}
    raw = json.dumps(image).encode()
    put = "PUT", "/v2/a/manifests/1", raw
    assert code(ask(*put, Content_Type=MANIFEST_TYPE)) == (400, "MANIFEST_BLOB_UNKNOWN")
    ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", DATA)
    assert ask(*put, Content_Type=MANIFEST_TYPE).status == 201


def test_tags_come_in_pages(ask):
    for tag in ("c", "a", "b"):
        ask("PUT", f"/v2/a/manifests/{tag}", INDEX, Content_Type=INDEX_TYPE)
    assert json.loads(ask("GET", "/v2/a/tags/list").body) == {"name": "a", "tags": ["a", "b", "c"]}
    first = ask("GET", "/v2/a/tags/list?n=2")
    assert json.loads(first.body)["tags"] == ["a", "b"]
    assert first.headers["Link"] == '</v2/a/tags/list?n=2&last=b>; rel="next"'
    rest = ask("GET", "/v2/a/tags/list?n=2&last=b")
    assert json.loads(rest.body)["tags"] == ["c"]
    assert "Link" not in rest.headers
    none = ask("GET", "/v2/a/tags/list?n=0")
    assert (json.loads(none.body)["tags"], "Link" in none.headers) == ([], False)
    assert code(ask("GET", "/v2/a/tags/list?n=x")) == (400, "PAGINATION_NUMBER_INVALID")
    assert code(ask("GET", "/v2/nobody/tags/list")) == (404, "NAME_UNKNOWN")


def test_repositories_come_in_pages(ask):
    for name in ("b", "a/x"):
        ask("PUT", f"/v2/{name}/manifests/1", INDEX, Content_Type=INDEX_TYPE)
    page = ask("GET", "/v2/_catalog?n=1")
    assert json.loads(page.body) == {"repositories": ["a/x"]}
    assert page.headers["Link"] == '</v2/_catalog?n=1&last=a%2Fx>; rel="next"'


@pytest.mark.parametrize("name", ["A", "a//b", "a/../b", "-a", "a" * 256, "a_"])
def test_an_invalid_repository_name_is_rejected(ask, name):
    assert code(ask("GET", f"/v2/{name}/tags/list")) == (400, "NAME_INVALID")


def test_a_repository_name_may_contain_words_of_the_protocol(ask):
    ask("PUT", "/v2/a/blobs/tags/list/manifests/1", INDEX, Content_Type=INDEX_TYPE)
    assert ask("GET", "/v2/a/blobs/tags/list/manifests/1").status == 200
    assert ask("GET", "/v2/a/blobs/tags/list/tags/list").status == 200


def test_unsupported_endpoints_are_reported(ask):
    assert code(ask("GET", f"/v2/a/referrers/{DIGEST}")) == (404, "UNSUPPORTED")
    assert code(ask("GET", "/v2/a/nothing")) == (404, "UNSUPPORTED")
    refused = ask("PUT", "/v2/a/tags/list")
    assert (code(refused), refused.headers["Allow"]) == ((405, "UNSUPPORTED"), "GET")


def test_a_storage_failure_is_not_explained_to_clients(ask, backend, monkeypatch, caplog):
    def fail(repository):
        raise StoreError("/srv/secret is full")

    monkeypatch.setattr(backend, "tags", fail)
    response = ask("GET", "/v2/a/tags/list")
    assert code(response) == (500, "UNKNOWN")
    assert b"secret" not in response.body
    assert "secret" in caplog.text
