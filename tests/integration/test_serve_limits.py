"""Clients that are slow, silent, many or careless do not keep `registry serve` from the others."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import threading

import pytest

from tests.fixtures.servers import served

pytestmark = pytest.mark.campaign

DESCRIPTORS = 1024
BLOB = os.urandom(300_000)
DIGEST = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
SLOW_HEAD = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-"
SLOW_BODY = (
    b"POST /v2/a/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"
)


@pytest.fixture
def server(store_root):
    with served(store_root, descriptors=DESCRIPTORS) as (process, address):
        process.address = address
        assert ask(address, "POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", BLOB)[0].status == 201
        yield process


def ask(address, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def descriptors_of(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_abandoned_uploads_cost_no_descriptor(server):
    """3,000 of them used to leave none for anybody, for as long as the server ran."""
    before = descriptors_of(server)
    connection = http.client.HTTPConnection(server.address, timeout=60)
    statuses = []
    for _ in range(3000):
        connection.request("POST", "/v2/a/blobs/uploads/")
        response = connection.getresponse()
        body = response.read()
        statuses.append(response.status)
    connection.close()
    assert set(statuses) == {202, 429}
    assert (statuses.count(202), statuses[-1]) == (1000, 429)
    assert json.loads(body)["errors"][0]["code"] == "TOOMANYREQUESTS"
    assert int(response.headers["Retry-After"]) > 0
    assert descriptors_of(server) < before + 10
    assert ask(server.address, "GET", f"/v2/a/blobs/{DIGEST}")[1] == BLOB


@contextlib.contextmanager
def slow(address, count, begin):
    """Keep *count* connections that send *begin*, and then a byte each half second."""
    host, _, port = address.partition(":")
    opened = []
    stop = threading.Event()

    def drip():
        while not stop.wait(0.5):
            for each in opened:
                with contextlib.suppress(OSError):
                    each.send(b"x")

    dripping = threading.Thread(target=drip)
    try:
        for _ in range(count):
            opened.append(socket.create_connection((host, int(port)), timeout=60))
            opened[-1].sendall(begin)
            opened[-1].setblocking(False)
        dripping.start()
        yield opened
    finally:
        stop.set()
        if dripping.ident:
            dripping.join()
        for each in opened:
            each.close()


@pytest.mark.parametrize("count", [32, 200, pytest.param(900, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("begin", [SLOW_HEAD, b""], ids=["head", "silent"])
def test_a_slow_head_keeps_nobody_from_pulling(server, begin, count):
    with slow(server.address, count, begin):
        for _ in range(3):
            assert ask(server.address, "GET", f"/v2/a/blobs/{DIGEST}")[1] == BLOB


@pytest.mark.parametrize("count", [32, 200])
def test_a_slow_body_keeps_nobody_from_pulling(server, count):
    with slow(server.address, count, SLOW_BODY % DIGEST.encode()):
        for _ in range(3):
            assert ask(server.address, "GET", f"/v2/a/blobs/{DIGEST}")[1] == BLOB


def test_who_takes_no_answer_keeps_nobody_from_pulling(server):
    get = b"GET /v2/a/blobs/%s HTTP/1.1\r\nHost: x\r\n\r\n" % DIGEST.encode()
    with slow(server.address, 200, get * 100):
        for _ in range(3):
            assert ask(server.address, "GET", f"/v2/a/blobs/{DIGEST}")[1] == BLOB


def test_more_slow_bodies_than_threads_only_delay(store_root):
    """With fewer descriptors there are fewer threads; those who wait make slow ones go sooner."""
    with served(store_root, descriptors=256) as (_, address):
        posted = ask(address, "POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", BLOB)
        assert posted[0].status == 201
        with slow(address, 100, SLOW_BODY % DIGEST.encode()):
            assert ask(address, "GET", f"/v2/a/blobs/{DIGEST}")[1] == BLOB
