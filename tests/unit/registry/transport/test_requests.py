"""The HTTP transport: what it sends, what it does not, and whose errors come out of it."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from ocitool.errors import ConnectError, RegistryError, Timeout, TransportError
from ocitool_registry.transport.http import Body, Headers, Request
from ocitool_registry.transport.requests import PlainHttpError, RequestsTransport, TlsError
from tests.fixtures.programs import python_environment

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """Takes one connection, keeps what it says, and answers with fixed bytes."""

    def __init__(self, answer: bytes, *, enough: Callable[[bytes], bool]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._answer = answer
        self._enough = enough
        self.heard = b""
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        taken, _ = self._socket.accept()
        with taken:
            taken.settimeout(5)
            while not self._enough(self.heard):
                part = taken.recv(65536)
                if not part:
                    break
                self.heard += part
            taken.sendall(self._answer)

    def stop(self) -> None:
        self._thread.join(5)
        self._socket.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def start(answer: bytes = OK, enough: Callable[[bytes], bool] | None = None) -> Peer:
        peers.append(Peer(answer, enough=enough or (lambda heard: b"\r\n\r\n" in heard)))
        return peers[-1]

    yield start
    for one in peers:
        one.stop()


@pytest.fixture(autouse=True)
def no_certificates_of_this_machine(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def transport() -> Iterator[RequestsTransport]:
    made = RequestsTransport(connect_timeout=2, read_timeout=2)
    yield made
    made.close()


def get(address: str, **fields: str) -> Request:
    return Request(
        method="GET", url=f"http://{address}/v2/?secret=1", headers=Headers(fields.items())
    )


def test_a_request_is_plain(peer, transport, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    there = peer(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok")
    with transport.send(get(there.address)) as response:
        assert response.stream.read() == b"ok"
    heard = there.heard.lower()
    assert b"accept-encoding: identity" in heard
    assert b"authorization" not in heard


def test_repeated_headers_are_joined(peer, transport):
    answer = b"HTTP/1.1 401 X\r\nWWW-Authenticate: A\r\nWWW-Authenticate: B\r\n\r\n"
    with transport.send(get(peer(answer).address)) as response:
        assert response.headers["www-authenticate"] == "A, B"


def test_encoded_content_is_not_decoded(peer, transport):
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok"
    with transport.send(get(peer(answer).address)) as response:
        assert response.stream.read(100) == b"ok"


@pytest.mark.parametrize(
    ("body", "length"),
    [(b"", b"0"), (b"abc", b"3"), (Body(open=lambda: io.BytesIO(b"abc"), size=3), b"3")],
)
def test_a_body_has_a_content_length(peer, transport, body, length):
    there = peer(enough=lambda heard: heard.endswith(b"abc" if length == b"3" else b"\r\n\r\n"))
    transport.send(Request(method="PUT", url=f"http://{there.address}/", body=body)).close()
    assert b"content-length: " + length in there.heard.lower()
    assert b"chunked" not in there.heard.lower()


def test_a_response_before_the_end_of_the_body_is_read(peer, transport):
    there = peer(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    size = 64 * 1024 * 1024
    body = Body(open=lambda: io.BytesIO(bytes(size)), size=size)
    try:
        response = transport.send(Request(method="PUT", url=f"http://{there.address}/", body=body))
    except TransportError:
        return  # the peer's reset overtook its answer, which TCP allows
    assert response.status == 413
    response.close()


def test_an_error_of_the_body_is_raised_unchanged(peer, transport):
    class Broken:
        def read(self, size: int = -1) -> bytes:
            raise RegistryError("the source broke")

        def close(self) -> None:
            return None

    there = peer()
    body = Body(open=Broken, size=5)
    with pytest.raises(RegistryError, match="the source broke"):
        transport.send(Request(method="PUT", url=f"http://{there.address}/", body=body))


def test_tls_to_a_plain_http_server_has_a_hint(peer, transport):
    there = peer(b"HTTP/1.1 400 Bad Request\r\n\r\n", enough=lambda heard: len(heard) > 5)
    with pytest.raises(PlainHttpError) as caught:
        transport.send(Request(method="GET", url=f"https://{there.address}/v2/?secret=1"))
    assert "--tls-verify=false" in caught.value.hint
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["a..b", "*", f"{'a' * 64}.test"])
def test_an_invalid_host_name(transport, host):
    with pytest.raises(TransportError, match="request failed"):
        transport.send(Request(method="GET", url=f"http://{host}/x"))


def test_a_refused_connection(transport):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ConnectError, match="refused") as caught:
        transport.send(get(address))
    assert "secret" not in str(caught.value)
    assert "Connection(" not in str(caught.value)  # the words of a library below


def test_an_unknown_host(transport):
    with pytest.raises(ConnectError, match=r"cannot connect: Failed to resolve 'no.invalid': \w"):
        transport.send(get("no.invalid"))


def test_a_response_timeout():
    transport = RequestsTransport(read_timeout=0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Timeout):
        transport.send(get(f"127.0.0.1:{silent.getsockname()[1]}"))
    transport.close()


def test_a_body_that_is_cut_off(peer, transport):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok"
    with transport.send(get(peer(answer).address)) as response, pytest.raises(TransportError):
        while response.stream.read(10):
            pass


def test_a_closed_connection_is_not_a_connect_error(peer, transport):
    # The difference decides whether a request that is not repeatable is sent again.
    with pytest.raises(TransportError) as caught:
        transport.send(get(peer(b"").address))
    assert not isinstance(caught.value, ConnectError)


def test_what_is_not_http(peer, transport):
    with pytest.raises(TransportError):
        transport.send(get(peer(b"SSH-2.0-OpenSSH\r\n").address))


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_is_asked_for_other_hosts_alone(transport, peer, monkeypatch, name):
    for each in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, f"http://{(proxy := peer()).address}")
    for host in (here := peer()).address, f"localhost:{(there := peer()).address.split(':')[1]}":
        with transport.send(Request(method="GET", url=f"http://{host}/v2/")) as response:
            assert response.status == 200
    assert here.heard.startswith(b"GET /v2/") and there.heard.startswith(b"GET /v2/")
    with transport.send(Request(method="GET", url="http://r.example/v2/")) as response:
        assert response.status == 200
    assert proxy.heard.startswith(b"GET http://r.example/v2/")


def test_a_missing_ca_file(transport, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(ConnectError, match=r"/nowhere/ca\.pem"):
        transport.send(Request(method="GET", url="https://127.0.0.1:9/v2/"))


@pytest.mark.slow
def test_an_untrusted_certificate(transport, tls_peer):
    url = f"https://{tls_peer.address}/v2/"
    with pytest.raises(TlsError, match="not trusted") as caught:
        transport.send(Request(method="GET", url=url))
    assert "SSL_CERT_FILE" in caught.value.hint


def test_a_certificate_trusted_by_the_environment(transport, tls_peer, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", tls_peer.certificate)
    with transport.send(Request(method="GET", url=f"https://{tls_peer.address}/v2/")) as response:
        assert response.status == 200


def test_certificates_are_not_verified_if_insecure(tls_peer):
    transport = RequestsTransport(verify=False)
    with transport.send(Request(method="GET", url=f"https://{tls_peer.address}/v2/")) as response:
        assert response.status == 200
    transport.close()


@pytest.mark.slow
def test_importing_the_package_loads_no_http():
    code = (
        "import sys, ocitool_registry, ocitool_registry.client.content;"
        "import ocitool_registry.server.app;"
        "print(*({'requests', 'urllib3', 'cheroot', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=python_environment()
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")
