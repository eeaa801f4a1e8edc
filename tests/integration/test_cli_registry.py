"""Registries on the command line: login, push, pull, logout, and serving one."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import uuid
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from ocitool.oci.digest import Digest
from ocitool_registry import MemoryBackend, application
from tests.fixtures.commands import failed
from tests.fixtures.programs import python_environment
from tests.fixtures.servers import served


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, format, *args):
        pass


@contextmanager
def guarded(user, password):
    """Serve a registry that lets in nobody but *user*."""
    inner = application(MemoryBackend())
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def app(environ, start):
        if environ.get("HTTP_AUTHORIZATION") == wanted:
            return inner(environ, start)
        text = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        headers = [("WWW-Authenticate", 'Basic realm="test"'), ("Content-Type", "application/json")]
        start("401 Unauthorized", [*headers, ("Content-Length", str(len(text)))])
        return [text]

    with _serving(app) as address:
        yield address


@contextmanager
def anonymous():
    """Serve a registry that gives everybody a token, and lets in nobody without it."""
    inner = application(MemoryBackend())

    def app(environ, start):
        if environ.get("HTTP_AUTHORIZATION") == "Bearer given":
            return inner(environ, start)
        asked = environ["PATH_INFO"] == "/token"
        text = b'{"token":"given"}' if asked else b"{}"
        realm = f'Bearer realm="http://{environ["HTTP_HOST"]}/token",service="test"'
        headers = [("WWW-Authenticate", realm), ("Content-Length", str(len(text)))]
        start("200 OK" if asked else "401 Unauthorized", headers)
        return [text]

    with _serving(app) as address:
        yield address


@contextmanager
def _serving(app):
    with make_server("127.0.0.1", 0, app, Threads, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_login_push_pull_logout(cli, tmp_path):
    with guarded("ann", "s3cret") as address:
        name = f"{address}/app:1"
        cli("tag", "app:1", name).ok()
        failed(cli("push", name), 1, f"hint: run `ocitool login {address}`")
        failed(
            cli("login", "-u", "ann", "-p", "wrong", address),
            1,
            "check the user name and the password",
        )
        failed(cli("login", address), 2, "--password-stdin")
        failed(cli("login", "--password-stdin", address, stdin="x"), 2, "requires --username")
        cli("login", "-u", "ann", "--password-stdin", address, stdin="s3cret\n").ok()
        config = tmp_path / ".docker" / "config.json"
        assert config.stat().st_mode & 0o077 == 0
        pushed = cli("--debug", "push", name).ok()
        assert f"{address}: credentials: from {config}" in pushed.stderr
        digest = pushed.stdout.split()[2]
        assert cli("pull", name).ok().stdout == f"Digest: {digest}\n{name}\n"
        assert cli("pull", "-q", name).ok().stdout == f"{name}\n"
        secret = base64.b64encode(b"ann:s3cret").decode()
        assert not {"s3cret", secret} & set(pushed.stderr.split())
        inline = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {address: {"auth": secret}}})}
        removed = cli("logout", address).ok().stdout
        assert removed == f"Removing login credentials for {address}\n"
        assert cli("logout", address).ok().stdout == f"Not logged in to {address}\n"
        failed(cli("pull", name), 1, "401")
        pulled = cli("--debug", "pull", name, env=inline).ok()
        assert f"{address}: credentials: from DOCKER_AUTH_CONFIG" in pulled.stderr
        failed(
            cli("pull", f"{address}/none:1", env=inline),
            1,
            f"Error: pulling {address}/none:1: image not found in the registry: {address}/none:1\n",
        )


@pytest.fixture
def broken_helper(tmp_path):
    """The environment of a user whose credential helper fails."""
    program = tmp_path / "bin/docker-credential-broken"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'the keyring is locked'; exit 3\n")
    program.chmod(0o755)
    (tmp_path / "config.json").write_text('{"credsStore": "broken"}')
    path = f"{program.parent}:{os.environ['PATH']}"
    return {"PATH": path, "DOCKER_CONFIG": str(tmp_path)}


def test_a_helper_that_fails_is_warned_of_where_everybody_may_pull(cli, broken_helper):
    """With -q, too: the pull may take longer, or get less, than the user expects."""
    said = "warning: docker-credential-broken get: the keyring is locked; continuing without"
    with anonymous() as address:
        name = f"{address}/app:1"
        for words in (
            ("push", "app:1", name), ("push", "-q", "app:1", name), ("pull", name),
            ("pull", "-q", name), ("pull", "-aq", f"{address}/app"),
            ("run", "-q", "--rm", "--pull", "always", name),
        ):  # fmt: skip
            done = cli(*words, env=broken_helper)
            assert done.code == (126 if "run" in words else 0), done  # there is no program
            assert done.stderr.count(said) == 1, done


def test_a_helper_that_fails_is_the_reason_where_credentials_are_needed(cli, broken_helper):
    with guarded("ann", "s3cret") as address:
        name = f"{address}/app:1"
        for words in (("push", "-q", "app:1", name), ("pull", name), ("pull", "-q", name)):
            done = cli(*words, env=broken_helper)
            failed(done, 1, "warning: docker-credential-broken get: the keyring is locked")
            assert "401" in done.stderr


def test_missing_images_are_reported(cli, free_port):
    failed(cli("push", "none:1"), 1, "Error: pushing none:1: no such image: none:1\n")
    failed(cli("pull", f"127.0.0.1:{free_port}/x:1"), 1, "Connection refused")


FORMS = {
    "gzip:9": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "zstd:19": "application/vnd.oci.image.layer.v1.tar+zstd",
    "estargz": "application/vnd.oci.image.layer.v1.tar+gzip",
    "uncompressed": "application/vnd.oci.image.layer.v1.tar",
}


def test_the_digest_of_a_push_in_a_file(run_cli, store_root, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    digest = tmp_path / "digest"
    with served(tmp_path / "served") as (_, address):
        name = f"{address}/app:1"
        run_cli("build", "-q", "-t", name, tmp_path, root=store_root).ok()
        words = ("push", f"--digestfile={tmp_path}/missing/digest", name)
        assert "there is no directory" in run_cli(*words, root=store_root).stderr
        assert run_cli("pull", name, root=store_root).code == 1  # nothing was pushed
        shown = run_cli("push", f"--digestfile={digest}", name, root=store_root).ok().stdout
        assert shown.split()[2] == digest.read_text()
        words = ("push", "--storage-driver=vfs", "-q", name, f"docker://{address}/other:2")
        assert run_cli(*words, root=store_root).ok().stdout == f"{address}/other:2\n"
    digest.unlink()
    words = ("push", "-a", "--digestfile", digest, f"{address}/app")
    assert "mutually exclusive" in run_cli(*words, root=store_root).stderr
    assert run_cli("push", f"--digestfile={digest}", name, root=store_root).code == 1
    assert not digest.exists()


@pytest.mark.parametrize("compression", FORMS)
def test_a_push_with_compression(cli, store_root, skopeo, tmp_path, compression):
    stored = cli("inspect", "app:1").ok().stdout
    with served(store_root / "served") as (_, address):
        name = f"{address}/app:1"
        pushed = cli("push", "--compression", compression, "app:1", name).ok()
        raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}").stdout
        # skopeo verifies the digests of the blobs, and of what it decompresses
        copied = f"dir:{tmp_path / 'copied'}"
        skopeo("copy", "--src-tls-verify=false", "--dest-decompress", f"docker://{name}", copied)
        other = ("--root", str(tmp_path / "other"))
        cli(*other, "pull", name).ok()
    assert pushed.stdout == f"1: digest: {Digest.of(raw.encode())} size: {len(raw)}\n"
    layers = json.loads(raw)["layers"]
    assert {layer["mediaType"] for layer in layers} == {FORMS[compression]}
    toc = [key for layer in layers for key in layer.get("annotations", {}) if "toc.digest" in key]
    assert bool(toc) == (compression == "estargz")
    assert cli("inspect", "app:1").ok().stdout == stored
    cli("export", "-o", tmp_path / "before.tar", "app:1").ok()
    cli(*other, "export", "-o", tmp_path / "after.tar", name).ok()
    assert _files(tmp_path / "after.tar") == _files(tmp_path / "before.tar")


def _files(path):
    """Return the files of an exported image, without those that eStargz adds."""
    with tarfile.open(path) as archive:
        return {
            member.name: (member.mode, member.mtime, archive.extractfile(member).read())
            for member in archive
            if member.isfile() and "stargz" not in member.name and "prefetch" not in member.name
        }


@pytest.mark.parametrize("compression", ["gzip:1", "estargz", "uncompressed"])  # zstd: docker 23
def test_docker_pulls_what_was_pushed_with_compression(cli, docker, registry, compression):
    name = f"{registry}/ocitool-test/{uuid.uuid4().hex[:8]}:1"
    digest = cli("push", "--compression", compression, "app:1", name).ok().stdout.split()[2]
    docker("pull", name)
    try:
        found = docker("image", "inspect", "--format", "{{json .RepoDigests}}", name).stdout
        assert json.loads(found) == [f"{name.rpartition(':')[0]}@{digest}"]
    finally:
        docker("image", "rm", name)


@pytest.mark.parametrize("compression", ["gzip:1", "zstd:3", "estargz", "uncompressed"])
def test_podman_pulls_what_was_pushed_with_compression(cli, podman, registry, compression):
    name = f"{registry}/ocitool-test/{uuid.uuid4().hex[:8]}:1"
    digest = cli("push", "--compression", compression, "app:1", name).ok().stdout.split()[2]
    podman("pull", f"{name.rpartition(':')[0]}@{digest}")  # verifies all digests


def test_a_name_that_estargz_cannot_hold_is_said_with_what_to_use(cli, registry, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/caf\udce9").write_text("x")
    with tarfile.open(tmp_path / "odd.tar", "w") as archive:
        archive.add(tmp_path / "tree", "tree")
    name = f"{registry}/ocitool-test/{uuid.uuid4().hex[:8]}:1"
    cli("import", tmp_path / "odd.tar", name).ok()
    done = cli("push", "--compression", "estargz", name)
    failed(done, 1, f'pushing {name}: the name "tree/caf\\xe9" is not valid UTF-8, and the table')
    assert "use gzip or zstd" in done.stderr
    cli("push", "--compression", "zstd", name).ok()


@pytest.mark.parametrize(
    ("compression", "message"),
    [
        ("brotli", "unsupported compression 'brotli' (supported: gzip, zstd, estargz, "),
        ("zstd:99", "invalid compression level 99 for zstd"),
        ("gzip:fast", "invalid compression level 'fast' for gzip"),
        ("uncompressed:1", "invalid compression level '1' for uncompressed"),
        ("", "unsupported compression ''"),
    ],
)
def test_an_invalid_compression_is_a_usage_error(cli, compression, message):
    failed(cli("push", "--compression", compression, "app:1"), 2, message)


# -- registry serve ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_well_and_keeps_what_it_got(cli, store_root, number):
    with served(store_root / "served") as (process, address):
        cli("push", "app:1", f"{address}/app:1").ok()
        process.send_signal(number)
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()
    with served(store_root / "served") as (process, address):
        cli("pull", f"{address}/app:1").ok()


def test_a_port_in_use(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        failed(cli("registry", "serve", "--addr", address), 1, "Address already in use")
    failed(cli("registry", "serve", "--addr", "nothing"), 1, "expected HOST:PORT")


def test_many_signals_end_a_server_once(tmp_path):
    """A signal that comes while it ends must not leave it half ended, with its threads waiting."""
    words = (sys.executable, "-m", "ocitool", "--root", str(tmp_path), "registry", "serve")
    with subprocess.Popen(
        [*words, "--addr", "127.0.0.1:0"],
        env=python_environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert "Serving on" in server.stderr.readline()
            for _ in range(200):
                server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
            assert server.stderr.read() == ""
        finally:
            server.kill()
