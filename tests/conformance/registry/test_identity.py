"""Challenges, tokens and credentials, as registries want them."""

from __future__ import annotations

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ocitool.errors import AuthError, RegistryError
from ocitool_registry import Credential, RegistrySink, limits
from ocitool_registry.auth.keychain import Fixed
from tests.conformance.registry.rules import (
    DATA,
    SECRET,
    answer,
    describe,
    read,
    reference,
    sink,
    source,
    token_server,
    when,
)


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_token_is_fetched_and_cached(registry: Any, name: str) -> None:
    asked = token_server(registry, user=True, name=name)
    blob = registry.add(DATA)
    src = source(registry, credentials=Fixed(SECRET))
    assert read(src.open(blob)) == DATA
    assert read(src.open(blob)) == DATA
    assert asked == [{"service": ['a, "b"'], "scope": ["repository:a:pull"], "account": ["user"]}]


def test_an_anonymous_token(registry: Any) -> None:
    asked = token_server(registry)
    assert read(source(registry).open(registry.add(DATA))) == DATA
    assert "account" not in asked[0]


def test_a_mount_needs_both_scopes(registry: Any) -> None:
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


def test_the_scope_of_the_challenge_comes_first(registry: Any) -> None:
    asked = token_server(registry, scope="repository:other/name:pull")
    blob = registry.add(DATA)
    src = source(registry)
    read(src.open(blob))
    registry.expire()
    read(src.open(blob))
    assert asked[-1]["scope"] == ["repository:other/name:pull", "repository:a:pull"]


@pytest.mark.parametrize("post", [True, False])
def test_an_identity_token_is_sent_to_the_token_server(registry: Any, post: bool) -> None:
    asked = token_server(registry, post=post)
    blob = registry.add(DATA)
    credential = Credential(identity_token="refresh")
    assert read(source(registry, credentials=Fixed(credential)).open(blob)) == DATA
    if post:
        assert asked[0]["grant_type"] == ["refresh_token"]
        assert asked[0]["refresh_token"] == ["refresh"]


def test_an_error_of_the_token_server_names_the_credentials(registry: Any) -> None:
    token_server(registry, user=True)
    wrong = Credential(username="user", password="wrong", origin="some file")
    with pytest.raises(AuthError, match="some file") as caught:
        source(registry, credentials=Fixed(wrong)).resolve()
    assert "wrong" not in str(caught.value)


def test_basic_credentials_are_sent_after_a_challenge(registry: Any) -> None:
    def basic(environ: dict[str, Any], start: Any) -> Any:
        if environ.get("HTTP_AUTHORIZATION") == SECRET.basic:
            return None
        return answer("401 X", WWW_Authenticate='basic realm="r"')(environ, start)

    registry.rules.append(basic)
    blob = registry.add(DATA)
    assert read(source(registry, credentials=Fixed(SECRET)).open(blob)) == DATA
    assert registry.client(credentials=Fixed(SECRET)).credential_origin("a") == "a test"
    assert base64.b64decode(SECRET.basic[6:]) == b"user:pa:ss"
    with pytest.raises(AuthError) as caught:
        source(registry).resolve()
    assert f"`ocitool login {registry.address}`" in caught.value.hint
    with pytest.raises(AuthError):
        registry.client().ping()


def test_a_challenge_of_a_later_request_is_answered(registry: Any) -> None:
    """Harbor and zot let anybody ping and ask only where it matters."""
    token_server(registry)
    registry.rules.insert(0, lambda e, s: registry.well(e, s) if e["PATH_INFO"] == "/v2/" else None)
    assert read(source(registry).open(registry.add(DATA))) == DATA


@pytest.mark.parametrize(
    ("realm", "message"),
    [
        ("http://tokens.example/token", "does not use HTTPS"),
        ("http://[::1", "invalid URL"),
        ("ftp://tokens.example/", "expected http or https"),
        ("", "expected http or https"),
    ],
)
def test_an_unsafe_realm_is_rejected(registry: Any, realm: str, message: str) -> None:
    challenge = f'Bearer realm="{realm}",service="s"'
    registry.rules.append(answer("401 Unauthorized", WWW_Authenticate=challenge))
    with pytest.raises(AuthError, match=message):
        source(registry, credentials=Fixed(SECRET)).resolve()


def test_parallel_blobs_share_a_token(registry: Any) -> None:
    asked = token_server(registry)
    target = sink(registry)
    blobs = [bytes([number]) * 300_000 for number in range(8)]

    def push(data: bytes) -> str:
        return target.put_blob(describe(data), lambda: io.BytesIO(data))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(push, blobs)) == ["done"] * 8
    assert [each["scope"] for each in asked] == [["repository:a:pull"], ["repository:a:pull,push"]]
    pulled = source(registry)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda data: read(pulled.open(describe(data))), blobs)) == blobs


# -- answers without measure ---------------------------------------------------------------


def test_an_endless_token_is_an_error(registry: Any) -> None:
    token_server(registry)
    registry.rules.insert(
        0, when("GET", "/token", answer("200 OK", b" " * (limits.TOKEN_REPLY + 1)))
    )
    with pytest.raises(RegistryError, match="larger than 1048576 bytes"):
        registry.client().get_manifest("a", "1")


@pytest.mark.parametrize("lasts", ["1" + "0" * 400, "1e999", "NaN", "-1", "true"])
def test_a_token_of_an_absurd_lifetime_is_used(registry: Any, lasts: str) -> None:
    valid = token_server(registry)
    body = b'{"token":"token-1","expires_in":%s}' % lasts.encode()

    def give(environ: dict[str, Any], start: Any) -> Any:
        if environ["PATH_INFO"] != "/token":
            return None
        list(registry.rules[1](environ, lambda *_: None))  # by which the token becomes valid
        return answer("200 OK", body)(environ, start)

    registry.rules.insert(0, give)
    assert read(source(registry).open(registry.add(DATA))) == DATA
    assert len(valid) == 1


@pytest.mark.parametrize("token", ["\ud800", "€", "a\nb", "a\r\nX: y", "\0"])
def test_a_token_that_no_header_may_have_is_refused(registry: Any, token: str) -> None:
    token_server(registry)
    body = json.dumps({"token": token}).encode()
    registry.rules.insert(0, when("GET", "/token", answer("200 OK", body)))
    with pytest.raises(AuthError, match="malformed token"):
        registry.client().get_manifest("a", "1")


def test_a_huge_challenge_is_ignored(registry: Any) -> None:
    asked = token_server(registry, scope="repository:a:pull " * 3000)
    with pytest.raises(AuthError):
        registry.client().get_manifest("a", "1")
    assert asked == []
