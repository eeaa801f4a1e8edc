"""Loading an image into docker's engine and podman's store: both played by the test."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ocitool import BuildOptions, build
from ocitool.builder.outputs import engine as engines
from ocitool.builder.outputs.engine import EngineUnavailable, docker_host
from ocitool.errors import BuildError
from tests.unit.builder.conftest import RecordedEvents, scratch

DOCKERFILE = scratch("COPY d /d/")
PODMAN = """#!/bin/sh
test "$1" = load || exit 9
cat > "$PODMAN_GOT"
echo Loaded image
exit "$PODMAN_CODE"
"""


@dataclass
class Engine:
    """An HTTP server on a unix socket that answers as docker's engine does."""

    path: Path
    answer: bytes = b'{"stream":"Loaded image: a:1\\n"}\n'
    status: str = "200 OK"
    ping: str = "200 OK"
    early: bool = False  # whether it answers a load without reading it
    loaded: list[bytes] = field(default_factory=list)

    def serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                head = b"".join(iter(stream.readline, b"\r\n"))
                if head.startswith(b"GET /_ping "):
                    connection.sendall(
                        f"HTTP/1.1 {self.ping}\r\nContent-Length: 0\r\n\r\n".encode()
                    )
                elif head.startswith(b"POST /images/load"):
                    if not self.early:
                        self.loaded.append(b"".join(chunks(stream)))
                    size = f"Content-Length: {len(self.answer)}"
                    reply = f"HTTP/1.1 {self.status}\r\n{size}\r\n\r\n".encode()
                    connection.sendall(reply + self.answer)


def chunks(stream) -> Iterator[bytes]:
    """Yield the chunks of a request's body: RFC 9112, 7.1."""
    while size := int(stream.readline(), 16):
        yield stream.read(size)
        assert stream.read(2) == b"\r\n"


@pytest.fixture
def engine(tmp_path, monkeypatch) -> Iterator[Engine]:
    listening = socket.socket(socket.AF_UNIX)
    found = Engine(tmp_path / "docker.sock")
    listening.bind(str(found.path))
    listening.listen()
    thread = threading.Thread(target=found.serve, args=(listening,))
    thread.start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{found.path}")
    yield found
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


@pytest.fixture
def no_engine(tmp_path, monkeypatch):
    """Neither docker nor podman."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr(engines, "_SOCKET", f"{tmp_path}/no.sock")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def podman(no_engine, tmp_path, monkeypatch) -> Path:
    """Podman without docker; returns what it is given."""
    program = tmp_path / "bin/podman"
    program.write_text(PODMAN.replace("cat", "/bin/cat"))
    program.chmod(0o755)
    monkeypatch.setenv("PODMAN_GOT", str(tmp_path / "got"))
    monkeypatch.setenv("PODMAN_CODE", "0")
    return tmp_path / "got"


def load(sources, **options):
    """Build, and return the result with what was said."""
    events = RecordedEvents()
    given = BuildOptions(
        context=str(sources.top), dockerfile=DOCKERFILE, tags=("a:1", "b:1"), **options
    )
    result = build(given, store=sources.store, progress=events)
    return result, [each.text for each in events.events if hasattr(each, "level")]


def names_in(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        return json.load(file)[0]["RepoTags"]


def actions(result) -> list[tuple[str, str]]:
    return [(each.action, each.where) for each in result.exports]


def test_load_is_for_docker_and_for_the_store(sources, engine):
    result, _ = load(sources, load=True)
    assert actions(result) == [("stored", ""), ("loaded", f"docker (unix://{engine.path})")]
    (archive,) = engine.loaded
    assert names_in(archive) == ["a:1", "b:1"] and len(result.tags) == 2


def test_an_output_for_docker_is_not_in_the_store(sources, engine):
    result, _ = load(sources, outputs=("type=docker,name=c:1",))
    assert actions(result) == [("loaded", f"docker (unix://{engine.path})")]
    assert names_in(engine.loaded[0]) == ["c:1"] and sources.store.refs.all() == ()


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        ("200 OK", b'{"errorDetail":{"message":"no space"},"error":"no space"}', "no space"),
        ("500 Internal Server Error", b'{"message":"invalid tar header"}', "invalid tar header"),
        ("418 Teapot", b"<html>", "status 418"),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_an_engine_that_refuses_the_image(sources, engine, status, answer, said, early):
    engine.status, engine.answer, engine.early = status, answer, early
    with pytest.raises(BuildError, match=f"cannot load the image: {said}"):
        load(sources, outputs=("type=docker",))


def test_an_engine_that_breaks_off(sources, engine):
    engine.status, engine.answer = "", b""
    with pytest.raises(BuildError, match="broke off"):
        load(sources, outputs=("type=docker",))


@pytest.mark.parametrize("context", ["", "default"])
def test_podman_takes_the_image_where_there_is_no_docker(sources, podman, monkeypatch, context):
    """The default context names no engine: docker's command line looks for a socket, too."""
    monkeypatch.setenv("DOCKER_CONTEXT", context)
    result, _ = load(sources, load=True)
    assert actions(result) == [("stored", ""), ("loaded", "podman")]
    assert names_in(podman.read_bytes()) == ["a:1", "b:1"]


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("DOCKER_HOST", "unix:///no.sock", "unix:///no.sock does not answer: No such file"),
        ("DOCKER_HOST", "ssh://host", "ssh://host is not supported"),
        ("DOCKER_CONTEXT", "far", "context 'far' names no engine"),
    ],
)
def test_another_engine_than_the_one_named_gets_no_image(
    sources, podman, monkeypatch, variable, value, why
):
    monkeypatch.setenv(variable, value)
    result, said = load(sources, load=True)
    assert actions(result) == [("stored", "")] and not podman.exists()
    assert said[-1].startswith("the image is in ocitool's store only: ") and why in said[-1]
    with pytest.raises(EngineUnavailable, match=why):
        load(sources, outputs=("type=docker",))


def test_podman_that_refuses_the_image(sources, podman, monkeypatch):
    monkeypatch.setenv("PODMAN_CODE", "5")
    with pytest.raises(BuildError, match="podman cannot load the image: Loaded image"):
        load(sources, outputs=("type=docker",))


def test_without_an_engine_load_is_the_store(sources, no_engine, tmp_path):
    result, said = load(sources, load=True)
    assert actions(result) == [("stored", "")] and len(result.tags) == 2
    assert said[-1] == (
        "the image is in ocitool's store only: docker's engine at "
        f"unix://{tmp_path}/no.sock does not answer: No such file or directory"
    )
    with pytest.raises(EngineUnavailable, match="does not answer: No such file or directory"):
        load(sources, outputs=("type=docker",))


def test_an_engine_that_is_not_ready(sources, engine, monkeypatch, tmp_path):
    engine.ping = "503 Service Unavailable"
    monkeypatch.setenv("PATH", "/nowhere")
    result, said = load(sources, load=True)
    assert actions(result) == [("stored", "")] and "it answers with status 503" in said[-1]


@pytest.mark.parametrize("host", ["ssh://host", "npipe:////./pipe/docker", "tcp://127.0.0.1:1"])
def test_addresses_that_are_not_supported(sources, no_engine, monkeypatch, host):
    monkeypatch.setenv("DOCKER_HOST", host)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    with pytest.raises(EngineUnavailable, match=f"docker's engine at {host} is not supported"):
        load(sources, outputs=("type=docker",))


def test_the_engine_of_a_context(tmp_path, monkeypatch):
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", os.fspath(tmp_path))
    assert docker_host() == "unix:///var/run/docker.sock"
    (tmp_path / "config.json").write_text('{"currentContext":"rootless"}')
    with pytest.raises(EngineUnavailable, match="context 'rootless' names no engine"):
        docker_host()
    folder = tmp_path / "contexts/meta" / hashlib.sha256(b"rootless").hexdigest()
    folder.mkdir(parents=True)
    meta = {"Name": "rootless", "Endpoints": {"docker": {"Host": "unix:///run/x.sock"}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    assert docker_host() == "unix:///run/x.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert docker_host() == "unix:///var/run/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine:2375")
    assert docker_host() == "tcp://engine:2375"
