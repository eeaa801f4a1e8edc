"""Loading an image into the store of another engine: docker's by its socket, podman's by podman.

Source: docker's API, "POST /images/load"; docker's command line, "DOCKER_HOST" and contexts.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from ocitool.errors import BuildError
from ocitool.oci.json_text import parse_json
from ocitool.programs import find_program
from ocitool.settings import docker_directory

Write = Callable[[Callable[[bytes], object]], None]
"""Writes a docker archive to its argument."""

_SOCKET: Final = "/var/run/docker.sock"
#: Contexts that name no engine.
_DEFAULTS: Final = ("", "default")
_UNIX: Final = "unix://"
_TCP: Final = "tcp://"
_TIMEOUT: Final = 10.0  # seconds for the engine to answer that it is there
_LARGEST: Final = 1 << 20  # bytes of an answer


class EngineUnavailable(BuildError):
    """There is no engine, or it does not answer this user."""

    @property
    def chosen(self) -> bool:
        """Whether the environment names the engine, so that no other can be meant."""
        context = os.environ.get("DOCKER_CONTEXT", "")
        return bool(os.environ.get("DOCKER_HOST")) or context not in _DEFAULTS


class Engine(Protocol):
    """What an image can be loaded into."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def load(self, write: Write) -> None:
        """Load the archive that *write* writes.

        Raises:
            EngineUnavailable: it does not answer.
            BuildError: it has refused the image.
        """


def find_engine() -> Engine:
    """Return docker's engine, or podman where only that is installed.

    Raises:
        EngineUnavailable: there is neither, or the engine that the environment names does not
            answer.
    """
    try:
        docker = DockerEngine(docker_host())
        docker.ping()
    except EngineUnavailable as error:
        podman = find_program("podman")
        if podman is None or error.chosen:
            raise
        return Podman(podman)
    return docker


def docker_host() -> str:
    """Return the address of docker's engine, as docker's command line finds it.

    Raises:
        EngineUnavailable: the context that is in use cannot be read.
    """
    if host := os.environ.get("DOCKER_HOST"):
        return host
    directory = docker_directory(os.environ)
    name = os.environ.get("DOCKER_CONTEXT") or _document(directory, "config.json").get(
        "currentContext", ""
    )
    if not isinstance(name, str) or name in _DEFAULTS:
        return _UNIX + _SOCKET
    folder = hashlib.sha256(name.encode()).hexdigest()
    context = _document(directory, f"contexts/meta/{folder}/meta.json")
    try:
        host = context["Endpoints"]["docker"]["Host"]
    except (KeyError, TypeError):
        host = None
    if not isinstance(host, str):
        raise EngineUnavailable(
            f"docker's context {name!r} names no engine", hint="set DOCKER_HOST to its address"
        )
    return host


def _document(directory: str, name: str) -> dict[str, Any]:
    if not directory:
        return {}
    try:
        with open(os.path.join(directory, name), "rb") as file:
            found = parse_json(file.read(_LARGEST))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class DockerEngine:
    """Docker's engine at an address: ``unix:///path``, or ``tcp://host:port`` without TLS."""

    def __init__(self, host: str) -> None:
        self.host = host

    @property
    def name(self) -> str:
        return f"docker ({self.host})"

    def ping(self) -> None:
        """Raise `EngineUnavailable` if the engine does not answer."""
        connection = self._connection(_TIMEOUT)
        try:
            connection.request("GET", "/_ping")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(error) from None
        finally:
            connection.close()
        if status != http.client.OK:
            raise self._unavailable(f"it answers with status {status}")

    def load(self, write: Write) -> None:
        self.ping()
        connection = self._connection(None)
        try:
            connection.putrequest("POST", "/images/load?quiet=1")
            connection.putheader("Content-Type", "application/x-tar")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            try:
                write(lambda data: connection.send(b"%x\r\n%b\r\n" % (len(data), data)))
                connection.send(b"0\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has answered before the end, with an error
            response = connection.getresponse()
            answer = response.read(_LARGEST)
        except (OSError, http.client.HTTPException) as error:
            raise BuildError(f"{self.name} broke off: {_reason(error)}") from None
        finally:
            connection.close()
        if reason := _refusal(response.status, answer):
            raise BuildError(
                f"{self.name} cannot load the image: {reason}",
                hint="docker reads layers compressed with zstd since version 23",
            )

    def _connection(self, timeout: float | None) -> http.client.HTTPConnection:
        if self.host.startswith(_UNIX):
            return _UnixConnection(self.host.removeprefix(_UNIX), timeout)
        if self.host.startswith(_TCP) and not os.environ.get("DOCKER_TLS_VERIFY"):
            return http.client.HTTPConnection(self.host.removeprefix(_TCP), timeout=timeout)
        raise EngineUnavailable(
            f"docker's engine at {self.host} is not supported",
            hint="use a unix socket (DOCKER_HOST=unix:///path), or dest=FILE and `docker load`",
        )

    def _unavailable(self, error: object) -> EngineUnavailable:
        return EngineUnavailable(
            f"docker's engine at {self.host} does not answer: {_reason(error)}",
            hint="start it, set DOCKER_HOST, or write an archive with dest=FILE",
        )


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket of this machine."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _refusal(status: int, answer: bytes) -> str:
    """Return why an engine has not loaded an image, ``""`` if it has."""
    for found in _answers(answer):
        detail = found.get("errorDetail") or {}
        reason = found.get("error") or (isinstance(detail, dict) and detail.get("message"))
        if reason or status != http.client.OK:
            return str(reason or found.get("message") or f"status {status}")
    return "" if status == http.client.OK else f"status {status}"


def _answers(answer: bytes) -> Iterator[dict[str, Any]]:
    for line in answer.splitlines():
        try:
            found = parse_json(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _reason(error: object) -> object:
    return error.strerror or error if isinstance(error, OSError) else error or "no answer"


class Podman:
    """Podman's store of this user, by ``podman load``."""

    def __init__(self, program: str) -> None:
        self._program = program

    @property
    def name(self) -> str:
        return "podman"

    def load(self, write: Write) -> None:
        process = subprocess.Popen(
            [self._program, "load", "--quiet"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdin is not None and process.stdout is not None
        with process:
            try:
                with process.stdin as stdin:
                    write(stdin.write)
            except BrokenPipeError:
                pass  # it says why
            except BaseException:
                process.kill()
                raise
            said = process.stdout.read().decode("utf-8", "replace").strip().splitlines()
        if process.returncode:
            reason = said[-1] if said else f"exit code {process.returncode}"
            raise BuildError(f"podman cannot load the image: {reason}")
