"""What a build allows its RUNs beyond a sandbox: ``--allow``.

Source: buildx's reference, "Allow extra privileged entitlement"; BuildKit, util/entitlements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ocitool.builder.definition import Graph, Run
from ocitool.errors import BuildError, FormatError
from ocitool_runtime.defaults import Network

NETWORK_HOST: Final = "network.host"
SECURITY_INSECURE: Final = "security.insecure"
_DEVICE: Final = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlements:
    """What is allowed."""

    names: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()  # names of CDI, if not all are allowed

    def require(self, name: str) -> None:
        """Raise `BuildError` unless *name* is allowed."""
        if name not in self.names:
            raise BuildError(f"{name} is not allowed", hint=f"allow it with --allow {name}")

    def allow_device(self, name: str) -> bool:
        """Say whether the device *name* is allowed, or all of its kind are."""
        kind, _, _ = name.partition("=")
        return _DEVICE in self.names or bool(self.devices & {name, kind, f"{kind}=*"})


def parse_entitlements(texts: Sequence[str]) -> Entitlements:
    """Read ``network.host``, ``security.insecure``, ``device`` and ``device=NAME``.

    Raises:
        FormatError: another one.
    """
    names, devices = set(), set()
    for text in texts:
        kind, _, device = text.partition("=")
        if kind == _DEVICE and device and "," not in device:
            devices.add(device)
        elif text in (NETWORK_HOST, SECURITY_INSECURE, _DEVICE):
            names.add(text)
        else:
            known = f"{NETWORK_HOST}, {SECURITY_INSECURE}, {_DEVICE}, {_DEVICE}=VENDOR/CLASS=NAME"
            raise FormatError(f"unknown entitlement {text}", hint=f"one of {known}")
    return Entitlements(names=frozenset(names), devices=frozenset(devices))


def require_entitled(graph: Graph, network: Network, entitlements: Entitlements) -> None:
    """Raise `BuildError`, with the line, for a RUN that is not allowed what it asks for.

    *network* is that of the build: if that is the host's, it is allowed.
    """
    for number, vertex in enumerate(graph.vertices):
        if not isinstance(vertex, Run):
            continue
        with graph.locations[number].in_errors():
            if vertex.around.network is Network.HOST and network is not Network.HOST:
                entitlements.require(NETWORK_HOST)
            if vertex.insecure:
                entitlements.require(SECURITY_INSECURE)
