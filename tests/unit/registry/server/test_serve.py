"""The server's sockets: bodies, connections, and how they end."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading

import pytest

from ocitool.errors import RegistryError
from ocitool.oci.digest import Digest
from ocitool_registry.server.memory_backend import MemoryBackend
from ocitool_registry.server.serve import serve

DATA = b"0123456789" * 100_000
DIGEST = Digest.of(DATA)
SMALL = b"0123456789"


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def server(backend):
    with serve(backend, threads=4, timeout=5) as running:
        yield running


@pytest.fixture
def connection(server):
    opened = http.client.HTTPConnection(server.address, timeout=10)
    yield opened
    opened.close()


@pytest.fixture
def raw(server):
    host, _, port = server.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as opened:
        yield opened


def answer(connection, *request, **options):
    connection.request(*request, **options)
    response = connection.getresponse()
    return response, response.read()


def begin(connection):
    response, _ = answer(connection, "POST", "/v2/a/blobs/uploads/")
    return response.headers["Location"]


def receive(sock, until):
    data = b""
    while until not in data:
        part = sock.recv(4096)
        if not part:
            break
        data += part
    return data


@pytest.mark.slow
def test_one_connection_serves_many_requests(connection):
    place = begin(connection)
    sock = connection.sock
    response, _ = answer(connection, "PUT", f"{place}?digest={DIGEST}", DATA)
    assert response.status == 201
    for _ in range(3):
        assert answer(connection, "GET", f"/v2/a/blobs/{DIGEST}")[1] == DATA
        head, nothing = answer(connection, "HEAD", f"/v2/a/blobs/{DIGEST}")
        assert (head.headers["Content-Length"], nothing) == (str(len(DATA)), b"")
    assert connection.sock is sock


@pytest.mark.slow
def test_a_chunked_body_of_any_chunks(connection, backend):
    place = begin(connection)
    parts = [DATA[:1], DATA[1:500_000], DATA[500_000:]]
    response, _ = answer(connection, "PATCH", place, iter(parts), encode_chunked=True)
    assert response.headers["Range"] == f"0-{len(DATA) - 1}"
    response, _ = answer(connection, "PUT", f"{place}?digest={DIGEST}")
    assert response.status == 201
    assert backend.blob_size("a", DIGEST) == len(DATA)


@pytest.mark.parametrize(
    "body",
    [b"-1\r\n", b"0x5\r\nabcde\r\n", b"zz\r\n", b"5\r\nabcdeXX", b"5" * 5000, b"1_0\r\n"],
)
def test_a_malformed_chunk_ends_the_connection(connection, raw, body):
    place = begin(connection)
    head = f"PATCH {place} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw.sendall(head.encode() + body)
    raw.shutdown(socket.SHUT_WR)
    assert receive(raw, b"SIZE_INVALID").startswith(b"HTTP/1.1 400")


@pytest.mark.slow
def test_trailers_are_ignored(connection, raw):
    place = begin(connection)
    head = f"PATCH {place} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw.sendall(head.encode() + b"5;ext=1\r\nabcde\r\n0\r\nX-Sum: 1\r\n\r\n")
    raw.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    data = receive(raw, b"{}")
    assert b"Range: 0-4" in data
    assert data.count(b"HTTP/1.1 ") == 2


@pytest.mark.slow
def test_100_continue_is_sent_when_the_body_is_read(connection, raw):
    place = begin(connection)
    digest = Digest.of(SMALL)
    head = f"PUT {place}?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
    raw.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert receive(raw, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.sendall(SMALL)
    assert receive(raw, b"\r\n\r\n").startswith(b"HTTP/1.1 201")


@pytest.mark.slow
def test_no_100_continue_is_sent_for_a_rejected_body(raw):
    head = "PUT /v2/a/blobs/uploads/none?digest=x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
    raw.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
    data = receive(raw, b"DIGEST_INVALID")
    assert data.startswith(b"HTTP/1.1 400")
    assert b"Connection: close" in data


@pytest.mark.parametrize("chunked", [False, True])
def test_a_rejected_body_is_read_so_that_the_response_arrives(connection, chunked):
    body = iter([DATA] * 5) if chunked else DATA * 5
    path = f"/v2/a/blobs/uploads/none?digest={DIGEST}"
    response, text = answer(connection, "PUT", path, body, encode_chunked=chunked)
    assert (response.status, b"BLOB_UPLOAD_UNKNOWN" in text) == (404, True)
    assert answer(connection, "GET", "/v2/")[0].status == 200


@pytest.mark.slow
def test_bytes_of_a_body_that_is_cut_off_are_kept(connection, raw):
    place = begin(connection)
    raw.sendall(f"PATCH {place} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode())
    raw.sendall(SMALL)
    raw.shutdown(socket.SHUT_WR)
    assert receive(raw, b"SIZE_INVALID").startswith(b"HTTP/1.1 400")
    assert answer(connection, "GET", place)[0].headers["Range"] == "0-9"


@pytest.mark.slow
@pytest.mark.parametrize(
    "lengths",
    ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: -5", "Content-Length: +5"],
)
def test_a_body_of_ambiguous_length_is_rejected(raw, lengths):
    raw.sendall(f"PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\n{lengths}\r\n\r\n".encode())
    assert receive(raw, b"\r\n\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.slow
def test_headers_have_a_limit(raw):
    raw.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000)
    assert receive(raw, b"\r\n\r\n").startswith(b"HTTP/1.1 413")


@pytest.mark.slow
def test_a_tls_handshake_gets_an_error_response(raw):
    raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert b"uses plain HTTP" in receive(raw, b"not TLS")


@pytest.mark.slow
def test_content_that_ends_early_ends_the_connection(connection, backend, monkeypatch):
    upload = backend.begin_upload("a")
    backend.append_upload("a", upload, io.BytesIO(DATA))
    backend.commit_upload("a", upload, DIGEST)
    monkeypatch.setattr(backend, "open_blob", lambda *_: io.BytesIO(DATA[:-5]))
    connection.request("GET", f"/v2/a/blobs/{DIGEST}")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()


@pytest.mark.slow
def test_a_running_request_is_finished_before_the_server_stops(backend):
    running = serve(backend, threads=2, timeout=5)
    running.start()
    client = http.client.HTTPConnection(running.address, timeout=10)
    place = begin(client)
    client.putrequest("PUT", f"{place}?digest={DIGEST}")
    client.putheader("Content-Length", str(len(DATA)))
    client.endheaders(DATA[:1000])
    while not backend.upload_size("a", place.rpartition("/")[2]):
        threading.Event().wait(0.01)
    stopper = threading.Thread(target=running.stop)
    stopper.start()
    client.send(DATA[1000:])
    assert client.getresponse().status == 201
    stopper.join(10)
    assert not stopper.is_alive()
    client.close()
    with pytest.raises(OSError):
        socket.create_connection(running.address.split(":"), timeout=1)


@pytest.fixture
def hasty(backend):
    """A server that waits for nobody longer than 0.6 seconds."""
    with serve(backend, threads=4, stall_timeout=0.6) as running:
        host, _, port = running.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as opened:
            yield opened


def drip(sock, data=b"x"):
    """Send a byte at a time, faster than any time-out of silence, until hung up on."""
    said = b""
    sock.settimeout(0.05)
    for _ in range(400):  # 20 seconds
        with contextlib.suppress(TimeoutError):
            try:
                sock.sendall(data)
                part = sock.recv(4096)
            except ConnectionError:
                return said
            if not part:
                return said
            said += part
    pytest.fail("the server waits without end")


@pytest.mark.slow
def test_a_head_sent_byte_by_byte_times_out(hasty):
    hasty.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-")
    assert drip(hasty) == b""


@pytest.mark.slow
def test_a_body_sent_byte_by_byte_times_out(hasty):
    hasty.sendall(b"POST /v2/a/blobs/uploads/?digest=%s HTTP/1.1\r\n" % str(DIGEST).encode())
    hasty.sendall(b"Host: x\r\nContent-Length: 1000\r\n\r\n")
    assert drip(hasty).startswith(b"HTTP/1.1 408")


@pytest.mark.slow
def test_chunks_sent_byte_by_byte_time_out(hasty):
    hasty.sendall(b"POST /v2/a/blobs/uploads/?digest=%s HTTP/1.1\r\n" % str(DIGEST).encode())
    hasty.sendall(b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert drip(hasty, b"1\r\nx\r\n").startswith(b"HTTP/1.1 408")


@pytest.mark.slow
def test_the_server_does_not_wait_for_a_rejected_body_sent_byte_by_byte(hasty):
    hasty.sendall(b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
    assert drip(hasty).startswith(b"HTTP/1.1 413")


@pytest.mark.slow
def test_a_slow_and_steady_body_is_accepted(backend):
    """Its bytes come fast enough, though it takes longer than the patience in all."""
    with serve(backend, threads=2, stall_timeout=2) as running:
        client = http.client.HTTPConnection(running.address, timeout=30)
        client.putrequest("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}")
        client.putheader("Content-Length", str(len(DATA)))
        client.endheaders()
        for at in range(0, len(DATA), 40_000):  # 25 pieces
            client.send(DATA[at : at + 40_000])
            threading.Event().wait(0.1)
        assert client.getresponse().status == 201
        client.close()


def test_too_many_connections_close_the_one_that_waited_longest(backend, monkeypatch):
    with serve(backend, threads=2) as running:
        monkeypatch.setattr(running._http, "max_connections", 3)
        host, _, port = running.address.partition(":")
        with contextlib.ExitStack() as stack:
            silent = []
            for _ in range(3):
                silent.append(stack.enter_context(socket.create_connection((host, int(port)))))
            client = http.client.HTTPConnection(running.address, timeout=30)
            assert answer(client, "GET", "/v2/")[0].status == 200
            client.close()
            silent[0].settimeout(30)
            assert silent[0].recv(1) == b""


def test_a_port_in_use_is_an_error(server, backend):
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(RegistryError, match="cannot listen"):
        serve(backend, port=port).start()


def test_a_server_that_never_ran_can_be_stopped(backend):
    serve(backend).stop()
