"""The OCI distribution protocol, both ends: a client of any registry, and a registry.

The names below load what they need when they are first asked for; importing the package itself
costs nothing.  The server is begun by ``ocitool_registry.serve.serve``: a name of the package that
is also its module's would turn into the module once that is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocitool_registry.app import application
    from ocitool_registry.backend import Backend, StoredManifest
    from ocitool_registry.client import RegistryClient
    from ocitool_registry.credentials import (
        CredentialSource,
        default_source,
        remove_credential,
        store_credential,
    )
    from ocitool_registry.identity import Credential
    from ocitool_registry.memory import MemoryBackend
    from ocitool_registry.retry import RetryPolicy
    from ocitool_registry.serve import Server
    from ocitool_registry.source import RegistrySink, RegistrySource, connect
    from ocitool_registry.transport import RequestsTransport, Transport

_HOMES = {
    "Backend": "backend",
    "Credential": "identity",
    "CredentialSource": "credentials",
    "MemoryBackend": "memory",
    "RegistryClient": "client",
    "RegistrySink": "source",
    "RegistrySource": "source",
    "RequestsTransport": "transport",
    "RetryPolicy": "retry",
    "Server": "serve",
    "StoredManifest": "backend",
    "Transport": "transport",
    "application": "app",
    "connect": "source",
    "default_source": "credentials",
    "remove_credential": "credentials",
    "store_credential": "credentials",
}

__all__ = [
    "Backend",
    "Credential",
    "CredentialSource",
    "MemoryBackend",
    "RegistryClient",
    "RegistrySink",
    "RegistrySource",
    "RequestsTransport",
    "RetryPolicy",
    "Server",
    "StoredManifest",
    "Transport",
    "application",
    "connect",
    "default_source",
    "remove_credential",
    "store_credential",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
