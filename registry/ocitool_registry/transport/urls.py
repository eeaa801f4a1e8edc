"""Hosts: which address a registry answers at, and which jumps between hosts are refused."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from ocitool.errors import RegistryError
from ocitool_registry.transport.http import redacted

DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_HOST: Final = "registry-1.docker.io"


def connect_host(registry: str) -> str:
    """Return the host to connect to for the *registry* that references name."""
    if registry in (DOCKER_HUB, "index.docker.io"):
        return _DOCKER_HUB_HOST
    return registry


def registry_name(host: str) -> str:
    """Return the name that references give the registry at *host*."""
    return DOCKER_HUB if host == _DOCKER_HUB_HOST else host


def hostname(netloc: str) -> str:
    """Return the host of ``host:port``, an IPv6 address without its brackets."""
    return urlsplit(f"//{netloc}").hostname or ""


def is_loopback(host: str) -> bool:
    """Say whether *host* (without port) is this machine: localhost, 127/8 or ::1."""
    if host == "localhost":
        return True
    address = _literal(host)
    return address is not None and address.is_loopback


def split(url: str) -> SplitResult:
    """Return the parts of *url*; `RegistryError` if it is no address at all."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise RegistryError("the registry gives an address that is none") from error


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port: what a credential is bound to."""
    parts = split(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    try:
        port = parts.port
    except ValueError as error:
        raise RegistryError(f"{redacted(url)} has no valid port") from error
    return parts.scheme, parts.hostname or "", port or default


def follow(base: str, location: str) -> str:
    """Return the address a ``Location`` or ``Link`` means, seen from *base*.

    It may be absolute, a path, relative to *base*, or lack its scheme.  Which jump is refused,
    and why, is said by `guard`.
    """
    if "://" not in location and not location.startswith(("/", "?", ".")):
        first = location.partition("/")[0]
        if first == urlsplit(base).netloc or ("." in first and "/v2/" in location):
            location = f"//{location}"  # "host:port/v2/...", as some proxies write it
    try:
        target = urljoin(base, location)
    except ValueError as error:
        raise RegistryError(f"{redacted(base)} points to what is no address") from error
    target = _encrypted(base, target)
    guard(base, target)
    return target


def _encrypted(base: str, target: str) -> str:
    """Return *target* in https where it is on the same host as *base*, which is.

    A registry behind a proxy that ends TLS may not know that its address is an https one.
    """
    here, there = split(base), split(target)
    same = here.hostname == there.hostname and origin(target)[2] in (80, here.port)
    if here.scheme == "https" and there.scheme == "http" and same:
        return urlunsplit(("https", here.netloc, there.path, there.query, there.fragment))
    return target


def guard(base: str, target: str) -> None:
    """Refuse to go from *base* to *target* where that would open a door; `RegistryError`.

    Refused is the way from https to http, and from a host to an address that is written as
    private, link-local or loopback, unless it is the same host or equally near: otherwise any
    registry could have us ask this network's own machines on its behalf.
    """
    here, there = split(base), split(target)
    if there.scheme not in ("http", "https") or not there.hostname:
        raise RegistryError(f"{redacted(base)} points to {redacted(target)}, which is not HTTP")
    if here.scheme == "https" and there.scheme == "http":
        raise RegistryError(
            f"{redacted(base)} points to {redacted(target)}, which is not encrypted",
            hint="the registry, or a proxy before it, should be told its own https address",
        )
    if here.hostname != there.hostname and _nearness(there.hostname) > _nearness(here.hostname):
        raise RegistryError(
            f"{redacted(base)} points to {redacted(target)}, an address of a private network",
            hint="a registry outside that network has no business there",
        )


def _nearness(host: str | None) -> int:
    if host is None:
        return 0
    if is_loopback(host):
        return 3
    address = _literal(host)
    if address is None:
        return 0
    if address.is_link_local:
        return 2  # where clouds serve credentials to their machines
    return 1 if address.is_private or address.is_unspecified else 0


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
