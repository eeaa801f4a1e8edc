"""Which RUNs ask for more than a sandbox has, and whether the build allows it."""

from __future__ import annotations

from ocitool.builder.definition import Graph, Run
from ocitool.builder.entitlements import NETWORK_HOST, SECURITY_INSECURE, Entitlements
from ocitool_runtime.defaults import Network


def require_entitled(graph: Graph, network: Network, entitlements: Entitlements) -> None:
    """Raise `BuildError`, with the line, for a RUN that is not allowed what it asks for.

    *network* is that of the build; whoever gives the host's to all RUNs has allowed it.
    """
    for number, vertex in enumerate(graph.vertices):
        if not isinstance(vertex, Run):
            continue
        with graph.locations[number].in_errors():
            if vertex.around.network is Network.HOST and network is not Network.HOST:
                entitlements.require(NETWORK_HOST)
            if vertex.insecure:
                entitlements.require(SECURITY_INSECURE)
