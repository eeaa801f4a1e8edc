"""The keychain: where credentials for a registry are looked up, and in which order.

The order is: the file given as argument or in REGISTRY_AUTH_FILE (then no other source is used);
the JSON in DOCKER_AUTH_CONFIG; $DOCKER_CONFIG/config.json;
$XDG_RUNTIME_DIR/containers/auth.json; $XDG_CONFIG_HOME/containers/auth.json;
~/.docker/config.json; plugins of the group ``ocitool.credentials``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from ocitool import plugins
from ocitool.errors import PluginError, RegistryError
from ocitool_registry.auth import authfile as files
from ocitool_registry.auth.credential import Credential

__all__ = [
    "Anonymous",
    "Credential",
    "CredentialSource",
    "Fixed",
    "Logged",
    "default_source",
    "remove_credential",
    "store_credential",
]

GROUP: Final = "ocitool.credentials"


class CredentialSource(Protocol):
    """Finds credentials for registries.

    It is called from several threads, for each repository; a slow source should cache its results.
    """

    def get(self, registry: str, repository: str) -> Credential | None:
        """Return the credential for *repository* of *registry* (``host[:port]``), if any.

        Raises:
            RegistryError: the source exists but cannot be used.
        """


class Anonymous:
    """Has no credentials."""

    def get(self, registry: str, repository: str) -> Credential | None:
        return None


@dataclass(frozen=True, slots=True)
class Fixed:
    """Returns the same credential for every registry."""

    credential: Credential

    def get(self, registry: str, repository: str) -> Credential | None:
        return self.credential


@dataclass(frozen=True, slots=True)
class Files:
    """Looks in the variable and the files of the look-up order, then in the plugins."""

    paths: tuple[str, ...]
    inline: str = field(default="", repr=False)  # the JSON of DOCKER_AUTH_CONFIG
    with_plugins: bool = True
    warn: Callable[[str], object] | None = None  # gets the message of a helper that failed

    def get(self, registry: str, repository: str) -> Credential | None:
        if self.inline:
            config = files.parse(
                self.inline.encode("utf-8", "surrogateescape"), "DOCKER_AUTH_CONFIG"
            )
            if found := config.get(registry, repository):
                return found
        for path in self.paths:
            config = files.load(path)
            if found := self._ask_helper(config, registry) or config.get(registry, repository):
                return found
        return _from_plugins(registry, repository) if self.with_plugins else None

    def _ask_helper(self, config: files.AuthFile, registry: str) -> Credential | None:
        """Ask the helper; one that fails has no credential, as for docker and skopeo."""
        try:
            return config.ask_helper(registry)
        except RegistryError as error:
            if self.warn is not None:
                self.warn(f"{error}; continuing without its credentials")
            return None


@dataclass(frozen=True, slots=True)
class Logged:
    """Passes to *log* where a credential of another source was found; no secrets."""

    source: CredentialSource
    log: Callable[[str], object]

    def get(self, registry: str, repository: str) -> Credential | None:
        found = self.source.get(registry, repository)
        origin = f"from {found.origin or 'a plugin'}" if found is not None else "none found"
        self.log(f"{registry}: credentials: {origin}")
        return found


def default_source(
    authfile: str | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    warn: Callable[[str], object] | None = None,
) -> CredentialSource:
    """Return the source with the default look-up order; if given, *authfile* is the only file.

    *warn* gets a message if a credential helper fails; the look-up goes on then.

    Raises:
        RegistryError: *authfile* or the file in REGISTRY_AUTH_FILE does not exist.
    """
    environment = os.environ if environment is None else environment
    paths = lookup_paths(authfile, environment)
    if authfile or environment.get("REGISTRY_AUTH_FILE"):
        if not os.path.exists(paths[0]):
            raise RegistryError(f"authentication file not found: {paths[0]}")
        return Files(paths, with_plugins=False, warn=warn)
    return Files(paths, inline=environment.get("DOCKER_AUTH_CONFIG", ""), warn=warn)


def lookup_paths(authfile: str | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files of the look-up order, whether they exist or not."""
    only = authfile or environment.get("REGISTRY_AUTH_FILE", "")
    if only:
        return (only,)
    home = environment.get("HOME") or os.path.expanduser("~").removeprefix("~")  # "~": unknown
    found = []
    if docker := environment.get("DOCKER_CONFIG", ""):
        found.append(os.path.join(docker, "config.json"))
    if runtime := environment.get("XDG_RUNTIME_DIR", ""):
        found.append(os.path.join(runtime, "containers", "auth.json"))
    if config := environment.get("XDG_CONFIG_HOME") or (home and os.path.join(home, ".config")):
        found.append(os.path.join(config, "containers", "auth.json"))
    if home:
        found.append(os.path.join(home, ".docker", "config.json"))
    return tuple(found)


def store_credential(
    registry: str,
    credential: Credential,
    authfile: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Store *credential* for *registry*; returns the path of the file, or the name of its helper.

    It is stored in *authfile*, REGISTRY_AUTH_FILE, the first file that has an entry for *registry*
    (which would hide a later one), $DOCKER_CONFIG, or ~/.docker/config.json, in this order.

    Raises:
        RegistryError: the file cannot be read or written, or the helper failed.
    """
    environment = os.environ if environment is None else environment
    paths = lookup_paths(authfile, environment)
    if not paths:
        raise RegistryError(
            "cannot store the credentials: this user has no home directory",
            hint="set DOCKER_CONFIG, or use --authfile",
        )
    default = paths[0] if len(paths) == 1 or environment.get("DOCKER_CONFIG") else paths[-1]
    holders = (path for path in paths if files.load(path).knows(registry))
    return files.store(next(holders, default), registry, credential)


def remove_credential(
    registry: str,
    authfile: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> bool:
    """Remove *registry* from every file of the look-up order; returns whether one had it.

    Raises:
        RegistryError: a file cannot be read or written, or a helper failed.
    """
    environment = os.environ if environment is None else environment
    removed = [files.erase(path, registry) for path in lookup_paths(authfile, environment)]
    return any(removed)


def _from_plugins(registry: str, repository: str) -> Credential | None:
    for name in plugins.names(GROUP):
        source = plugins.lookup(GROUP, name)
        source = source() if isinstance(source, type) else source
        if not hasattr(source, "get"):
            raise PluginError(f"plugin {name!r} has no method `get`", where=GROUP)
        found: Credential | None = source.get(registry, repository)
        if found is not None:
            return found
    return None
