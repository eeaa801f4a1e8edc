"""A registry with faults: the server, behind an application that injects them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool_registry import MemoryBackend, RegistryClient, RetryPolicy, application
from ocitool_registry.auth.keychain import Anonymous
from ocitool_registry.server.serve import Server

Rule = Callable[[dict[str, Any], Any], "Iterable[bytes] | None"]


@dataclass
class Misbehaving:
    """A WSGI application that asks its rules first; the first that answers is the answer."""

    backend: MemoryBackend = field(default_factory=MemoryBackend)
    rules: list[Rule] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    address: str = ""

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        headers = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
        self.seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], headers))
        for rule in self.rules:
            answer = rule(environ, start)
            if answer is not None:
                return answer
        return self.well(environ, start)

    def well(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Answer as the server does."""
        return application(self.backend)(environ, start)

    def requests(self, method: str, part: str = "") -> int:
        return sum(1 for seen, path, _ in self.seen if seen == method and part in path)

    def client(self, **options: Any) -> RegistryClient:
        options.setdefault("credentials", Anonymous())
        options.setdefault("retry", FAST)
        return RegistryClient(self.address, **options)

    def add(self, data: bytes, repository: str = "a") -> Descriptor:
        import io

        upload = self.backend.begin_upload(repository)
        self.backend.append_upload(repository, upload, io.BytesIO(data))
        digest = Digest.of(data)
        self.backend.commit_upload(repository, upload, digest)
        return Descriptor(media_type="application/octet-stream", digest=digest, size=len(data))


waits: list[float] = []
FAST = RetryPolicy(first=0.0, sleep=waits.append)


@pytest.fixture
def slept() -> list[float]:
    """The seconds that clients of the test would have slept."""
    waits.clear()
    return waits


@pytest.fixture
def start_registry() -> Iterator[Callable[[], Misbehaving]]:
    """Starts misbehaving registries, as many as a test wants."""
    servers: list[Server] = []

    def start() -> Misbehaving:
        registry = Misbehaving()
        server = Server(registry, "127.0.0.1", 0, threads=4, timeout=5)
        server.start()
        servers.append(server)
        registry.address = server.address
        return registry

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def registry(start_registry: Callable[[], Misbehaving]) -> Misbehaving:
    return start_registry()
