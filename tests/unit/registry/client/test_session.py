"""How a registry is found to be reached, over a transport that is a table."""

from __future__ import annotations

import io

import pytest

from ocitool.errors import ConnectError, RegistryError, TransportError
from ocitool_registry.client.session import probe
from ocitool_registry.transport.http import Headers, Request, Response
from ocitool_registry.transport.redirect import Redirecting
from ocitool_registry.transport.requests import PlainHttpError
from ocitool_registry.transport.retry import Retrying, RetryPolicy, retry_after


class Table:
    """A transport that answers by scheme and host, and keeps what it was asked."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.asked: list[Request] = []

    def send(self, request: Request) -> Response:
        self.asked.append(request)
        answer = self.answers[request.url.partition(":")[0]]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer()
        status, fields = answer if isinstance(answer, tuple) else (answer, {})
        return Response(
            status=status, url=request.url, headers=Headers(fields.items()), stream=io.BytesIO()
        )


def base(host: str, *, insecure: bool = False, **answers: object) -> str:
    return probe(host, Table(**answers), insecure=insecure).base


def test_only_https_is_used_for_other_hosts():
    assert base("r.example", https=401) == "https://r.example"
    with pytest.raises(PlainHttpError):
        base("r.example", https=PlainHttpError("no"), http=200)


def test_plain_http_is_tried_after_https_if_insecure():
    assert base("r.example", insecure=True, https=PlainHttpError("no"), http=200) == (
        "http://r.example"
    )
    assert base("r.example", insecure=True, https=200, http=200) == "https://r.example"
    with pytest.raises(ConnectError, match="first"):
        base("r.example", insecure=True, https=ConnectError("first"), http=ConnectError("second"))


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:5000", "[::1]:5000"])
def test_plain_http_is_tried_first_on_loopback(host):
    assert base(host, http=200) == f"http://{host}"
    assert base(host, http=400, https=200) == f"https://{host}"
    assert base(host, http=TransportError("no HTTP"), https=200) == f"https://{host}"


def test_backoff_grows_and_is_bounded():
    waits: list[float] = []
    policy = RetryPolicy(first=1.0, longest=4.0, sleep=waits.append)
    for attempt in range(1, 6):
        policy.wait(attempt)
    for wait, most in zip(waits, [1, 2, 4, 4, 4], strict=True):
        assert most / 2 <= wait <= most
    policy.wait(1, asked=9.0)
    assert waits[-1] == 9.0


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("soon", None),
        ("-1", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:01:20 GMT", 0.0),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_parsed(text, want):
    assert retry_after(text, now=90.0) == want


def request(*, repeatable: bool = True, same_host: bool = False) -> Request:
    fields = Headers([("Authorization", "secret")])
    return Request(
        method="PUT", url="https://a/x", headers=fields, repeatable=repeatable, same_host=same_host
    )


def retrying(answers: list[object]) -> tuple[Retrying, list[float]]:
    waits: list[float] = []

    def next_answer() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Retrying(Table(https=next_answer), RetryPolicy(sleep=waits.append)), waits


def test_a_request_that_is_not_repeatable_is_sent_once():
    with pytest.raises(TransportError):
        retrying([TransportError("cut")])[0].send(request(repeatable=False))
    assert retrying([500])[0].send(request(repeatable=False)).status == 500


def test_a_request_is_repeated_after_429_and_503():
    sender, waits = retrying([429, 503, 201])
    assert sender.send(request(repeatable=False)).status == 201
    assert len(waits) == 2


def test_a_host_that_cannot_be_reached_has_few_retries():
    sender, waits = retrying([ConnectError("no")] * 9)
    with pytest.raises(ConnectError):
        sender.send(request())
    assert len(waits) == 2


def test_credentials_stay_with_their_origin():
    table = Table(https=lambda: (307, {"Location": "https://a:444/y"}) if not seen() else 200)

    def seen() -> bool:
        return len(table.asked) > 1

    Redirecting(table).send(request())
    assert [("Authorization" in asked.headers) for asked in table.asked] == [True, False]
    assert [asked.method for asked in table.asked] == ["PUT", "PUT"]


def test_a_secret_body_is_not_redirected_to_another_host():
    with pytest.raises(RegistryError, match="another host"):
        Redirecting(Table(https=(307, {"Location": "https://b/"}))).send(request(same_host=True))
