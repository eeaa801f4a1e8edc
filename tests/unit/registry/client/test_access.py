"""How registries are accessed: credentials, certificates and retries that a caller gives."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ocitool.errors import ConnectError, RegistryError
from ocitool_registry.access import Access
from ocitool_registry.client.content import connect
from ocitool_registry.transport.http import Request
from ocitool_registry.transport.requests import RequestsTransport, TlsError
from tests.fixtures.programs import python_environment


def test_credentials_are_not_shown():
    assert "secret" not in repr(Access(creds="me:secret"))


def waits(monkeypatch, **fields) -> list[float]:
    """The waits of a request to a port that nobody listens on."""
    waited: list[float] = []
    client = connect("127.0.0.1:1", access=Access(**fields))
    client.retry = replace(client.retry, sleep=waited.append)
    monkeypatch.setattr(client._session._transport, "policy", client.retry)
    with pytest.raises(ConnectError):
        client.ping()
    return waited


def test_how_often_a_request_is_repeated(monkeypatch):
    assert len(waits(monkeypatch)) == 2
    assert len(waits(monkeypatch, retries=5)) == 5
    assert waits(monkeypatch, retries=0) == []


def test_a_delay_is_the_same_each_time(monkeypatch):
    assert set(waits(monkeypatch, retries=4, retry_delay=2.5)) == {2.5}
    assert len(set(waits(monkeypatch, retries=4))) > 1


def send(peer, directory) -> int:
    transport = RequestsTransport(certificates=(str(directory),))
    with transport.send(Request(method="GET", url=f"https://{peer.address}/v2/")) as response:
        status = response.status
    transport.close()
    return status


@pytest.mark.slow
def test_the_certificates_of_a_directory_are_trusted(tls_peer, tmp_path):
    directory = tmp_path / "certificates"
    directory.mkdir()
    with pytest.raises(TlsError, match="not trusted"):
        send(tls_peer, directory)
    shutil.copy(tls_peer.certificate, directory / "ca.crt")
    assert send(tls_peer, directory) == 200


def test_those_of_the_environment_still_are(tls_peer, tmp_path, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", tls_peer.certificate)
    directory = tmp_path / "certificates"
    directory.mkdir()
    assert send(tls_peer, directory) == 200


def test_by_default_those_of_the_system_are(tls_peer, tmp_path, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    bundles = (str(tmp_path / "missing.pem"), tls_peer.certificate, str(tmp_path / "other.pem"))
    monkeypatch.setattr("ocitool_registry.transport.trusted.BUNDLES", bundles)
    connect(tls_peer.address).ping()
    monkeypatch.setattr("ocitool_registry.transport.trusted.BUNDLES", ())
    with pytest.raises(TlsError, match="not trusted"):
        connect(tls_peer.address).ping()


@pytest.mark.slow
def test_a_registry_has_the_certificates_that_other_engines_have_of_it(
    tls_peer, tmp_path, monkeypatch
):
    def in_use(host: str) -> bool:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / host))
        directory = tmp_path / host / "containers/certs.d" / host
        directory.mkdir(parents=True)
        shutil.copy(tls_peer.certificate, directory / "ca.crt")
        try:
            connect(tls_peer.address).ping()
        except TlsError:
            return False
        return True

    assert not in_use("example.com")
    assert in_use(tls_peer.address)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TlsError):  # --cert-dir is instead of these
        connect(tls_peer.address, access=Access(cert_dir=str(empty))).ping()


@pytest.mark.slow
def test_the_certificate_of_the_client_is_sent(tls_peer, tmp_path):
    tls_peer.context.load_verify_locations(tls_peer.certificate)
    tls_peer.context.verify_mode = ssl.CERT_REQUIRED
    directory = tmp_path / "certificates"
    directory.mkdir()
    shutil.copy(tls_peer.certificate, directory / "ca.crt")
    with pytest.raises(RegistryError):
        send(tls_peer, directory)
    shutil.copy(tls_peer.certificate, directory / "client.cert")
    shutil.copy(Path(tls_peer.certificate).with_name("key.pem"), directory / "client.key")
    assert send(tls_peer, directory) == 200


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("ca.crt",), "invalid certificate or key"),
        (("client.key",), "the key client.key has no certificate"),
        (("client.cert",), "cannot read certificates|invalid certificate or key"),
        (None, "cannot read certificates: No such file or directory"),
    ],
)
def test_a_directory_that_cannot_be_used(tls_peer, tmp_path, names, said):
    directory = tmp_path / "certificates"
    if names is not None:
        directory.mkdir()
        for name in names:
            (directory / name).write_text("nonsense")
    with pytest.raises(RegistryError, match=said):
        send(tls_peer, directory)


def test_importing_it_loads_nothing_of_http():
    code = (
        "import sys, ocitool_registry.access;"
        "print(*({'requests', 'ssl', 'json', 'urllib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=python_environment()
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.slow
def test_one_registry_may_be_without_tls_and_have_its_own_certificates(tls_peer, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    host = tls_peer.address
    trusted = (
        Access(insecure_hosts=(host,)),
        Access(certificates={host: tls_peer.certificate}),
    )
    others = (
        Access(),
        Access(insecure_hosts=("example.com",)),
        Access(certificates={"example.com": tls_peer.certificate}),
    )
    for access in trusted:
        connect(host, access=access).ping()
    for access in others:
        with pytest.raises(TlsError, match="not trusted"):
            connect(host, access=access).ping()
