"""Proxies of RUN: those of docker's configuration, and with ``--http-proxy`` the environment's.

They are build arguments that need no ARG, and are in neither the image nor the cache key.
Source: docker's manual, "Configure the Docker client", and docker/cli, opts/file.go.
"""

from __future__ import annotations

import os
from typing import Any, Final

import click

from ocitool.errors import FormatError
from ocitool.settings import docker_directory

_NAMES: Final = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "noProxy": "NO_PROXY",
    "allProxy": "ALL_PROXY",
}
_LARGEST: Final = 4 << 20  # bytes of the file

option = click.option(
    "--http-proxy", is_flag=True,
    help="Pass the proxy variables of the environment to RUN",
)  # fmt: skip


def proxies(from_environment: bool) -> dict[str, str]:
    """Return the build arguments for proxies, in upper and in lower case.

    Raises:
        FormatError: docker's configuration cannot be read.
    """
    found = _configured()
    if from_environment:
        for name in _NAMES.values():
            for written in (name, name.lower()):
                if value := os.environ.get(written, ""):
                    found[written] = value
    return found


def _configured() -> dict[str, str]:
    directory = docker_directory(os.environ)
    if not directory:
        return {}
    path = os.path.join(directory, "config.json")
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST)
    except OSError:  # whoever needs its credentials says so
        return {}
    if b"proxies" not in data:
        return {}
    from ocitool_registry.auth.authfile import first_value

    try:
        values = _object(_object(_object(first_value(data)).get("proxies")).get("default"))
        words = {_NAMES[key]: value for key, value in values.items() if key in _NAMES and value}
        if not all(isinstance(value, str) for value in words.values()):
            raise ValueError("a proxy is not a string")
    except ValueError as error:
        raise FormatError(f"invalid 'proxies': {error}", where=path) from None
    return {name: value for key, value in words.items() for name in (key, key.lower())}


def _object(value: Any) -> dict[str, Any]:
    """Return an object of JSON; null is an empty one, as in Go."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("expected an object of JSON")
    return value
