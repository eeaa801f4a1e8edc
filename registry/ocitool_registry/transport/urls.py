"""URLs: the host of a registry, and which redirects between hosts are not allowed."""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from ocitool.errors import RegistryError
from ocitool_registry.transport.http import redacted

DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_HOST: Final = "registry-1.docker.io"


def connect_host(registry: str) -> str:
    """Return the host to connect to for the *registry* of a reference."""
    if registry in (DOCKER_HUB, "index.docker.io"):
        return _DOCKER_HUB_HOST
    return registry


def registry_name(host: str) -> str:
    """Return the name in references of the registry at *host*."""
    return DOCKER_HUB if host == _DOCKER_HUB_HOST else host


def hostname(netloc: str) -> str:
    """Return the host of ``host:port``, an IPv6 address without its brackets."""
    return urlsplit(f"//{netloc}").hostname or ""


def is_loopback(host: str) -> bool:
    """Return whether *host* (without port) is localhost, in 127.0.0.0/8, or ::1."""
    if host == "localhost":
        return True
    address = _ip_address(host)
    return address is not None and address.is_loopback


def split_url(url: str) -> SplitResult:
    """Return the parts of *url*; `RegistryError` if it is invalid."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise RegistryError("invalid URL in registry response") from error


class Origin(NamedTuple):
    """Scheme, host and port of a URL (RFC 6454); credentials are only sent to the same origin."""

    scheme: str
    host: str
    port: int | None


def origin(url: str) -> Origin:
    """Return the origin of *url*; `RegistryError` if it is invalid."""
    parts = split_url(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    try:
        port = parts.port
    except ValueError as error:
        raise RegistryError(f"invalid port in URL {redacted(url)}") from error
    return Origin(parts.scheme, parts.hostname or "", port or default)


def resolve_location(base: str, location: str) -> str:
    """Return the absolute URL of a ``Location`` or ``Link`` in the response from *base*.

    It may be absolute, a path, relative to *base*, or without a scheme.  `RegistryError` if
    `require_safe_target` does not allow it.
    """
    if "://" not in location and not location.startswith(("/", "?", ".")):
        first = location.partition("/")[0]
        if first == urlsplit(base).netloc or ("." in first and "/v2/" in location):
            location = f"//{location}"  # "host:port/v2/...", as some proxies send it
    try:
        target = urljoin(base, location)
    except ValueError as error:
        raise RegistryError(f"invalid redirect from {redacted(base)}") from error
    target = _upgraded(base, target)
    require_safe_target(base, target)
    return target


def _upgraded(base: str, target: str) -> str:
    """Return *target* with https if it is on the same host as *base* and that uses https.

    A registry behind a proxy that terminates TLS may send URLs with http.
    """
    here, there = split_url(base), split_url(target)
    same = here.hostname == there.hostname and origin(target).port in (80, here.port)
    if here.scheme == "https" and there.scheme == "http" and same:
        return urlunsplit(("https", here.netloc, there.path, there.query, there.fragment))
    return target


def require_safe_target(base: str, target: str) -> None:
    """Raise `RegistryError` if a redirect from *base* to *target* is not allowed.

    Not allowed are redirects from https to http, and those to a private, link-local or loopback
    address, unless *base* is the same host or has an address of the same kind.  Otherwise a
    registry could make the client send requests to hosts of the local network.
    """
    here, there = split_url(base), split_url(target)
    if there.scheme not in ("http", "https") or not there.hostname:
        raise RegistryError(
            f"invalid URL {redacted(target)!r} from {redacted(base)}: expected http or https"
        )
    if here.scheme == "https" and there.scheme == "http":
        raise RegistryError(
            f"URL {redacted(target)} from {redacted(base)} is not allowed: plain HTTP",
            hint="configure the external https URL of the registry, or of the proxy in front of it",
        )
    if here.hostname != there.hostname and _locality(there.hostname) > _locality(here.hostname):
        raise RegistryError(
            f"URL {redacted(target)} from {redacted(base)} is not allowed: private address",
            hint="only a registry in the same network may refer to it",
        )


def _locality(host: str | None) -> int:
    if host is None:
        return 0
    if is_loopback(host):
        return 3
    address = _ip_address(host)
    if address is None:
        return 0
    if address.is_link_local:
        return 2  # clouds serve credentials there (169.254.169.254)
    return 1 if address.is_private or address.is_unspecified else 0


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
