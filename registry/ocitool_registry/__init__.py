"""The OCI distribution protocol, both ends: a client of any registry, and a registry.

The names below are imported when they are first used, so that importing the package is cheap.
``ocitool_registry.server.serve.serve`` starts a server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocitool_registry.auth.credential import Credential
    from ocitool_registry.auth.keychain import (
        CredentialSource,
        default_source,
        remove_credential,
        store_credential,
    )
    from ocitool_registry.client.client import RegistryClient
    from ocitool_registry.client.content import RegistrySink, RegistrySource, connect
    from ocitool_registry.server.app import application
    from ocitool_registry.server.backend import Backend, StoredManifest
    from ocitool_registry.server.memory_backend import MemoryBackend
    from ocitool_registry.server.serve import Server
    from ocitool_registry.transport.requests import RequestsTransport, Transport
    from ocitool_registry.transport.retry import RetryPolicy

_MODULES = {
    "Backend": "server.backend",
    "Credential": "auth.credential",
    "CredentialSource": "auth.keychain",
    "MemoryBackend": "server.memory_backend",
    "RegistryClient": "client.client",
    "RegistrySink": "client.content",
    "RegistrySource": "client.content",
    "RequestsTransport": "transport.requests",
    "RetryPolicy": "transport.retry",
    "Server": "server.serve",
    "StoredManifest": "server.backend",
    "Transport": "transport.requests",
    "application": "server.app",
    "connect": "client.content",
    "default_source": "auth.keychain",
    "remove_credential": "auth.keychain",
    "store_credential": "auth.keychain",
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
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
