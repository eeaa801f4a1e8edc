"""Values of a sandbox as users of docker write them: ``nofile=1024:2048``, ``db:10.0.0.2``.

Source: docker/cli, opts/hosts.go and opts/ulimit.go; docker/go-units, ulimit.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ocitool.errors import SandboxError
from ocitool_runtime.defaults import Rlimit

_ULIMIT: Final = re.compile(r"([^=]+)=(-1|[0-9]{1,19})(?::(-1|[0-9]{1,19}))?")
#: setrlimit(2)'s names except RLIMIT_AS, which docker does not have.
_ULIMITS: Final = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
    "rss", "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_LARGEST: Final = (1 << 63) - 1
_DOMAIN: Final = re.compile(r"\.|[A-Za-z0-9_]([A-Za-z0-9_.-]{0,253})")
_HOST_OPTION: Final = re.compile(r"[a-z0-9-]+(:[0-9]+)?")
_HOST: Final = re.compile(r"[^\s:=#\0]+")


def parse_boolean(text: str) -> bool | None:
    """Read a boolean as Go does; None if it is invalid."""
    return _BOOLEANS.get(text)


def parse_ulimits(texts: Iterable[str]) -> tuple[Rlimit, ...]:
    """Read ``NAME=SOFT[:HARD]``, the last of each name; -1 is unlimited."""
    return tuple({limit.name: limit for limit in map(_ulimit, texts)}.values())


def _ulimit(text: str) -> Rlimit:
    match = _ULIMIT.fullmatch(text)
    if match is None:
        raise SandboxError(
            f"invalid ulimit {text!r}", hint="use NAME=SOFT[:HARD], for example nofile=1024"
        )
    name, soft, hard = match[1], int(match[2]), int(match[3] or match[2])
    if name not in _ULIMITS:
        raise SandboxError(f"invalid ulimit type: {name}", hint=f"one of {', '.join(_ULIMITS)}")
    if max(soft, hard) > _LARGEST:
        raise SandboxError(f"invalid ulimit {text!r}: the value is out of range")
    if hard != -1 and (soft == -1 or soft > hard):
        raise SandboxError(
            f"ulimit {name}: the soft limit must be less than or equal to the hard limit:"
            f" {soft} > {hard}"
        )
    return Rlimit(name=name, soft=soft, hard=hard)


def parse_host(text: str) -> str:
    """Read ``NAME:ADDRESS`` or ``NAME=ADDRESS``; return the line for /etc/hosts."""
    name, _, address = text.partition("=" if "=" in text else ":")
    if not address or not _HOST.fullmatch(name):
        raise SandboxError(f"invalid host {text!r}", where="--add-host", hint="use NAME:ADDRESS")
    if address == "host-gateway":
        raise SandboxError(
            "--add-host with host-gateway is not supported: no network has a gateway to the host",
            hint="on the network 'host', the host is localhost",
        )
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    return f"{_address(address, '--add-host')}\t{name}"


def parse_server(text: str) -> str:
    """Read the address of a name server."""
    return _address(text.strip(), "--dns")


def parse_search(text: str) -> str:
    """Read a search domain; ``.`` means no domain."""
    if not _DOMAIN.fullmatch(text):
        raise SandboxError(f"invalid search domain: {text!r}", where="--dns-search")
    return text


def parse_option(text: str) -> str:
    """Read an option of resolv.conf(5), as ``ndots:2``."""
    if not _HOST_OPTION.fullmatch(text):
        raise SandboxError(
            f"invalid option: {text!r}", where="--dns-option", hint="use an option such as ndots:2"
        )
    return text


def _address(text: str, where: str) -> str:
    import ipaddress  # slow to load, rarely wanted

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise SandboxError(f"invalid IP address: {text!r}", where=where) from None
