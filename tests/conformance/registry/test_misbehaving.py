"""The client against registries as they are met: it succeeds, or fails with the stated error."""

from __future__ import annotations

import base64
import io
import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from ocitool.errors import (
    AuthError,
    BlobNotFound,
    DigestMismatch,
    ImageNotFound,
    RegistryError,
    ResponseError,
    TransportError,
)
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.reference import Reference
from ocitool_registry import Credential, RegistrySink, RegistrySource
from ocitool_registry.credentials import Fixed

DATA = bytes(range(256)) * 16384  # 4 MiB
SECRET = Credential(username="user", password="pa:ss", origin="a test")
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    }
).encode()
INDEX = "application/vnd.oci.image.index.v1+json"


def reference(registry: Any, tag: str = "1") -> Reference:
    return Reference.parse(f"{registry.address}/a:{tag}")


def source(registry: Any, **options: Any) -> RegistrySource:
    return RegistrySource(registry.client(**options), reference(registry))


def sink(registry: Any, **options: Any) -> RegistrySink:
    return RegistrySink(registry.client(**options), reference(registry))


def read(stream: Any) -> bytes:
    parts = []
    try:
        while part := stream.read(100_000):
            parts.append(part)
    finally:
        stream.close()
    return b"".join(parts)


def describe(data: bytes) -> Descriptor:
    return Descriptor(media_type="application/octet-stream", digest=Digest.of(data), size=len(data))


def answer(status: str, body: bytes = b"", **headers: str) -> Any:
    """Return a rule that answers so, however it is asked."""

    def rule(environ: dict[str, Any], start: Any) -> list[bytes]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        start(status, [("Content-Length", str(len(body))), *fields.items()])
        return [body]

    return rule


def when(method: str, part: str, rule: Any, times: int = 1 << 30) -> Any:
    """Return *rule* for some requests, the first so many *times*."""
    left = [times]

    def limited(environ: dict[str, Any], start: Any) -> Any:
        if environ["REQUEST_METHOD"] != method or part not in environ["PATH_INFO"] or not left[0]:
            return None
        left[0] -= 1
        return rule(environ, start)

    return limited


def cut(after: int) -> Any:
    """Return a rule that hangs up after so many bytes of the right answer's body."""

    def rule(environ: dict[str, Any], start: Any, registry: Any) -> Any:
        count = 0
        for chunk in registry.well(environ, start):
            yield chunk[: after - count]
            count += len(chunk)
            if count >= after:
                raise RegistryError("hanging up, as the test wants it")

    return rule


# -- reading -------------------------------------------------------------------------------


def test_a_pull_is_proved(registry: Any) -> None:
    assert read(source(registry).open(registry.add(DATA))) == DATA


@pytest.mark.parametrize("status", ["429 X", "500 X", "502 X", "503 X", "504 X", "408 X"])
def test_a_passing_fault_is_tried_again(registry: Any, slept: list[float], status: str) -> None:
    blob = registry.add(DATA)
    registry.rules.append(when("GET", "/blobs/", answer(status), times=2))
    assert read(source(registry).open(blob)) == DATA
    assert len(slept) == 2


@pytest.mark.parametrize("asked", ["7", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_registry_that_asks_to_wait_is_obeyed(
    registry: Any, slept: list[float], asked: str
) -> None:
    registry.add(DATA)
    rule = answer("429 Too Many Requests", Retry_After=asked)
    registry.rules.append(when("GET", "/tags/", rule, times=1))
    assert list(registry.client().tags("a")) == []
    assert slept == [7.0 if asked == "7" else 0.0]


def test_a_registry_that_asks_to_wait_for_long_is_not(registry: Any, slept: list[float]) -> None:
    registry.rules.append(when("GET", "/tags/", answer("429 X", Retry_After="86400")))
    with pytest.raises(ResponseError, match="429") as caught:
        list(registry.client().tags("a"))
    assert caught.value.retryable
    assert "wait" in caught.value.hint
    assert slept == []


def test_faults_that_do_not_pass_are_raised(registry: Any, slept: list[float]) -> None:
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
    with pytest.raises(TransportError, match="ends after"):
        read(source(registry).open(blob))


def test_an_absent_blob_is_said_to_be(registry: Any) -> None:
    with pytest.raises(BlobNotFound):
        source(registry).open(describe(b"nothing"))


def test_an_absent_image_is_said_to_be(registry: Any) -> None:
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
def test_a_head_that_does_not_say_enough_becomes_a_get(registry: Any, head: str) -> None:
    registry.rules.append(when("HEAD", "/manifests/", answer(head)))
    rule = answer("200 OK", MANIFEST, Content_Type=INDEX)
    registry.rules.append(when("GET", "/manifests/", rule))
    found = source(registry).resolve()
    assert found.digest == Digest.of(MANIFEST)
    assert found.size == len(MANIFEST)


def test_a_manifest_that_is_not_its_digest_is_found(registry: Any) -> None:
    registry.rules.append(when("GET", "/manifests/", answer("200 OK", MANIFEST)))
    with pytest.raises(DigestMismatch):
        registry.client().get_manifest("a", Digest.of(b"another"))


def test_a_manifest_without_end_is_bounded(registry: Any) -> None:
    registry.rules.append(when("GET", "/manifests/", answer("200 OK", b" " * (5 << 20))))
    with pytest.raises(RegistryError, match="more than"):
        registry.client().get_manifest("a", "1")


def test_a_web_page_is_shortened(registry: Any) -> None:
    page = b"<html><style>b {}</style><body><h1>Bad\nGateway</h1>" + b"<p>sorry</p>" * 1000
    registry.rules.append(when("GET", "/tags/", answer("400 X", page, Content_Type="text/html")))
    with pytest.raises(ResponseError) as caught:
        list(registry.client().tags("a"))
    assert caught.value.detail.startswith("Bad Gateway sorry")
    assert len(str(caught.value)) < 400
    assert "<" not in caught.value.detail


def test_an_error_says_method_address_status_and_code(registry: Any) -> None:
    body = b'{"errors":[{"code":"NAME_INVALID","message":"bad name"}]}'
    registry.rules.append(when("GET", "/tags/", answer("400 X", body)))
    with pytest.raises(ResponseError) as caught:
        list(registry.client().tags("a"))
    error = caught.value
    assert (error.status, error.code, error.detail) == (400, "NAME_INVALID", "bad name")
    assert str(error).startswith(f"GET http://{registry.address}/v2/a/tags/list: status 400")


# -- listings ------------------------------------------------------------------------------


def test_links_are_followed_as_they_stand(registry: Any) -> None:
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


# -- redirects -----------------------------------------------------------------------------


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


def test_a_redirect_in_a_circle_ends(registry: Any) -> None:
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


# -- writing -------------------------------------------------------------------------------


def test_a_push_sends_what_is_missing_only(registry: Any) -> None:
    target = sink(registry)
    assert target.put_blob(describe(DATA), lambda: io.BytesIO(DATA)) == "done"
    assert target.put_blob(describe(DATA), lambda: io.BytesIO(b"never read")) == "exists"
    assert registry.requests("PUT") == 1


def test_an_empty_blob_is_pushed(registry: Any) -> None:
    assert sink(registry).put_blob(describe(b""), lambda: io.BytesIO(b"")) == "done"


def test_a_blob_next_door_is_mounted(registry: Any) -> None:
    blob = registry.add(DATA, "b")
    target = RegistrySink(registry.client(), reference(registry), origins=lambda _: ["a", "b"])
    assert target.put_blob(blob, lambda: io.BytesIO(b"never read")) == "mounted"
    assert registry.requests("PUT") == 0


@pytest.mark.parametrize("status", ["401 X", "403 X", "404 X", "405 X", "500 X"])
def test_a_refused_mount_becomes_an_upload(registry: Any, status: str) -> None:
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


def test_an_upload_without_a_place_is_an_error(registry: Any) -> None:
    registry.rules.append(when("POST", "/uploads/", answer("202 Accepted")))
    with pytest.raises(RegistryError, match="does not say where"):
        sink(registry).put_blob(describe(DATA), lambda: io.BytesIO(DATA))


@pytest.mark.parametrize("status", ["500 X", "502 X", "404 X", "416 X"])
def test_a_broken_put_begins_a_new_upload(registry: Any, status: str) -> None:
    registry.rules.append(when("PUT", "/uploads/", answer(status), times=1))
    opened = []

    def open() -> Any:
        opened.append(1)
        return io.BytesIO(DATA)

    assert sink(registry).put_blob(describe(DATA), open) == "done"
    assert len(opened) == 2
    assert registry.requests("POST") == 2


def test_an_answer_that_was_lost_is_found_out(registry: Any) -> None:
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


def test_wrong_content_is_refused_by_the_registry(registry: Any) -> None:
    wrong = b"x" + DATA[1:]
    with pytest.raises(ResponseError) as caught:
        sink(registry).put_blob(describe(DATA), lambda: io.BytesIO(wrong))
    assert caught.value.code == "DIGEST_INVALID"


@pytest.mark.parametrize("content", [DATA[:-1], DATA + b"x"])
def test_content_of_another_size_is_not_sent(registry: Any, content: bytes) -> None:
    with pytest.raises(RegistryError, match="promised"):
        sink(registry).put_blob(describe(DATA), lambda: io.BytesIO(content))
    with pytest.raises(BlobNotFound):
        registry.backend.blob_size("a", Digest.of(DATA))


def test_a_registry_that_stored_other_bytes_is_found(registry: Any) -> None:
    rule = answer("201 Created", Docker_Content_Digest=str(Digest.of(b"other")))
    registry.rules.append(when("PUT", "/manifests/", rule))
    with pytest.raises(DigestMismatch):
        registry.client().put_manifest("a", "1", MANIFEST, INDEX)


# -- who we are ----------------------------------------------------------------------------


def token_server(registry: Any, **options: Any) -> list[dict[str, list[str]]]:
    """Have *registry* want tokens that it gives itself; returns what it was asked for."""
    asked: list[dict[str, list[str]]] = []
    valid: list[str] = []

    def give(environ: dict[str, Any], start: Any) -> Any:
        if environ["PATH_INFO"] != "/token":
            return None
        if environ["REQUEST_METHOD"] == "POST":
            if not options.get("post"):
                return answer("405 Method Not Allowed")(environ, start)
            asked.append(parse_qs(environ["wsgi.input"].read().decode()))
        else:
            asked.append(parse_qs(environ["QUERY_STRING"]))
            if options.get("user") and environ.get("HTTP_AUTHORIZATION") != SECRET.basic:
                return answer("401 Unauthorized")(environ, start)
        valid[:] = [f"token-{len(asked)}"]
        body = json.dumps({options.get("name", "token"): valid[0], "expires_in": 1}).encode()
        return answer("200 OK", body)(environ, start)

    def check(environ: dict[str, Any], start: Any) -> Any:
        token = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if token in valid:
            return None
        challenge = (
            f'Negotiate abc=, Bearer realm="http://{registry.address}/token",'
            f'service="a, \\"b\\"",scope="{options.get("scope", "")}"'
        )
        status = options.get("status", "401 Unauthorized")
        if status.startswith("403") and environ["PATH_INFO"] != "/v2/":
            return answer(status)(environ, start)
        return answer("401 Unauthorized", WWW_Authenticate=challenge)(environ, start)

    registry.rules += [give, check]
    registry.expire = valid.clear
    return asked


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_token_is_asked_for_and_kept(registry: Any, name: str) -> None:
    asked = token_server(registry, user=True, name=name)
    blob = registry.add(DATA)
    src = source(registry, credentials=Fixed(SECRET))
    assert read(src.open(blob)) == DATA
    assert read(src.open(blob)) == DATA
    assert asked == [{"service": ['a, "b"'], "scope": ["repository:a:pull"], "account": ["user"]}]


def test_a_token_is_asked_for_by_nobody(registry: Any) -> None:
    asked = token_server(registry)
    assert read(source(registry).open(registry.add(DATA))) == DATA
    assert "account" not in asked[0]


def test_a_push_asks_for_both_scopes_of_a_mount(registry: Any) -> None:
    asked = token_server(registry)
    blob = registry.add(DATA, "b")
    target = RegistrySink(registry.client(), reference(registry), origins=lambda _: ["b"])
    assert target.put_blob(blob, lambda: io.BytesIO(DATA)) == "mounted"
    assert asked[-1]["scope"] == ["repository:a:pull,push", "repository:b:pull"]


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_token_that_expired_is_renewed(registry: Any, status: str) -> None:
    asked = token_server(registry, status=status)
    blob = registry.add(DATA)
    src = source(registry)
    assert read(src.open(blob)) == DATA
    registry.expire()
    assert read(src.open(blob)) == DATA
    assert len(asked) == 2


def test_a_token_that_expires_before_a_body_is_renewed_and_the_body_rewound(registry: Any) -> None:
    token_server(registry)
    target = sink(registry)

    def expire(environ: dict[str, Any], start: Any) -> Any:
        registry.expire()

    registry.rules.insert(0, when("PUT", "/uploads/", expire, times=1))
    assert target.put_blob(describe(DATA), lambda: io.BytesIO(DATA)) == "done"


def test_the_scope_a_registry_names_stands_first(registry: Any) -> None:
    asked = token_server(registry, scope="repository:other/name:pull")
    blob = registry.add(DATA)
    src = source(registry)
    read(src.open(blob))
    registry.expire()
    read(src.open(blob))
    assert asked[-1]["scope"] == ["repository:other/name:pull", "repository:a:pull"]


@pytest.mark.parametrize("post", [True, False])
def test_an_identity_token_is_exchanged(registry: Any, post: bool) -> None:
    asked = token_server(registry, post=post)
    blob = registry.add(DATA)
    credential = Credential(identity_token="refresh")
    assert read(source(registry, credentials=Fixed(credential)).open(blob)) == DATA
    if post:
        assert asked[0]["grant_type"] == ["refresh_token"]
        assert asked[0]["refresh_token"] == ["refresh"]


def test_a_token_server_that_refuses_names_the_credentials(registry: Any) -> None:
    token_server(registry, user=True)
    wrong = Credential(username="user", password="wrong", origin="some file")
    with pytest.raises(AuthError, match="some file") as caught:
        source(registry, credentials=Fixed(wrong)).resolve()
    assert "wrong" not in str(caught.value)


def test_basic_credentials_are_sent_when_asked_for(registry: Any) -> None:
    def basic(environ: dict[str, Any], start: Any) -> Any:
        if environ.get("HTTP_AUTHORIZATION") == SECRET.basic:
            return None
        return answer("401 X", WWW_Authenticate='basic realm="r"')(environ, start)

    registry.rules.append(basic)
    blob = registry.add(DATA)
    assert read(source(registry, credentials=Fixed(SECRET)).open(blob)) == DATA
    assert base64.b64decode(SECRET.basic[6:]) == b"user:pa:ss"
    with pytest.raises(AuthError) as caught:
        source(registry).resolve()
    assert "ocitool login" in caught.value.hint
    with pytest.raises(AuthError):
        registry.client().ping()


def test_a_challenge_on_a_later_request_is_answered(registry: Any) -> None:
    """Harbor and zot let anybody ping and ask only where it matters."""
    token_server(registry)
    registry.rules.insert(0, lambda e, s: registry.well(e, s) if e["PATH_INFO"] == "/v2/" else None)
    assert read(source(registry).open(registry.add(DATA))) == DATA
