"""What tests of misbehaving registries say: rules that answer, and short words for the rest."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from ocitool.errors import RegistryError
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor
from ocitool.oci.reference import Reference
from ocitool_registry import Credential, RegistrySink, RegistrySource

DATA = bytes(range(256)) * 16384  # 4 MiB
SECRET = Credential(username="user", password="pa:ss", origin="a test")
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    }
).encode()
INDEX = "application/vnd.oci.image.index.v1+json"


def reference(registry: Any, tag: str = "1") -> Reference:
    return Reference.parse(f"{registry.address}/a:{tag}")


def source(registry: Any, **options: Any) -> RegistrySource:
    return RegistrySource(registry.client(**options), reference(registry))


def sink(registry: Any, **options: Any) -> RegistrySink:
    return RegistrySink(registry.client(**options), reference(registry))


def read(stream: Any) -> bytes:
    parts = []
    try:
        while part := stream.read(100_000):
            parts.append(part)
    finally:
        stream.close()
    return b"".join(parts)


def describe(data: bytes) -> Descriptor:
    return Descriptor(media_type="application/octet-stream", digest=Digest.of(data), size=len(data))


def answer(status: str, body: bytes = b"", **headers: str) -> Any:
    """Return a rule that answers so, however it is asked."""

    def rule(environ: dict[str, Any], start: Any) -> list[bytes]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        start(status, [("Content-Length", str(len(body))), *fields.items()])
        return [body]

    return rule


def when(method: str, part: str, rule: Any, times: int = 1 << 30) -> Any:
    """Return *rule* for some requests, the first so many *times*."""
    left = [times]

    def limited(environ: dict[str, Any], start: Any) -> Any:
        if environ["REQUEST_METHOD"] != method or part not in environ["PATH_INFO"] or not left[0]:
            return None
        left[0] -= 1
        return rule(environ, start)

    return limited


def cut(after: int) -> Any:
    """Return a rule that hangs up after so many bytes of the right answer's body."""

    def rule(environ: dict[str, Any], start: Any, registry: Any) -> Any:
        count = 0
        for chunk in registry.well(environ, start):
            yield chunk[: after - count]
            count += len(chunk)
            if count >= after:
                raise RegistryError("hanging up, as the test wants it")

    return rule


def token_server(registry: Any, **options: Any) -> list[dict[str, list[str]]]:
    """Have *registry* want tokens that it gives itself; returns what it was asked for."""
    asked: list[dict[str, list[str]]] = []
    valid: list[str] = []

    def give(environ: dict[str, Any], start: Any) -> Any:
        if environ["PATH_INFO"] != "/token":
            return None
        if environ["REQUEST_METHOD"] == "POST":
            if not options.get("post"):
                return answer("405 Method Not Allowed")(environ, start)
            asked.append(parse_qs(environ["wsgi.input"].read().decode()))
        else:
            asked.append(parse_qs(environ["QUERY_STRING"]))
            if options.get("user") and environ.get("HTTP_AUTHORIZATION") != SECRET.basic:
                return answer("401 Unauthorized")(environ, start)
        token = f"token-{len(asked)}"
        valid.append(token)
        body = json.dumps({options.get("name", "token"): token, "expires_in": 1}).encode()
        return answer("200 OK", body)(environ, start)

    def check(environ: dict[str, Any], start: Any) -> Any:
        token = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if token in valid:
            return None
        challenge = (
            f'Negotiate abc=, Bearer realm="http://{registry.address}/token",'
            f'service="a, \\"b\\"",scope="{options.get("scope", "")}"'
        )
        status = options.get("status", "401 Unauthorized")
        if status.startswith("403") and environ["PATH_INFO"] != "/v2/":
            return answer(status)(environ, start)
        return answer("401 Unauthorized", WWW_Authenticate=challenge)(environ, start)

    registry.rules += [give, check]
    registry.expire = valid.clear
    return asked
