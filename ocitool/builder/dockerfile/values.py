"""Values checked once their variables are expanded: ports, signals, sources.

Every function takes expanded text and raises `FormatError` without a location: the caller knows
the instruction.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from ocitool.errors import FormatError

__all__ = [
    "SourceKind",
    "check_source",
    "is_http",
    "parse_port",
    "parse_stop_signal",
    "source_kind",
]

_PROTOCOLS = ("tcp", "udp", "sctp")
_MAX_PORT = 65535
_SIGNAL = re.compile(
    r"(?:SIG)?(?:ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|"
    r"SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|"
    r"XFSZ|RTMIN|RTMAX"
    r"|RTMIN\+(?:[1-9]|1[0-5])|RTMAX-(?:[1-9]|1[0-4]))",
    re.I,
)


def parse_port(text: str) -> tuple[str, ...]:
    """Read one word of EXPOSE, ``80``, ``80/udp`` or ``8000-8002/tcp``, as ``80/tcp`` and so on.

    Of ``ip:host:container``, as ``docker run -p`` takes it, only the container's port counts.
    """
    published, _, container = text.rpartition(":")
    ports, _, protocol = container.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise FormatError(
            f"invalid protocol of containerPort: {text}", hint="one of tcp, udp, sctp"
        )
    found = _range(ports, "containerPort", text)
    address, _, host = published.rpartition(":")
    if address:
        _check_address(address)
    if host and len(found) not in (1, len(_range(host, "hostPort", text))):
        raise FormatError(
            f"invalid ranges specified for container and host Ports: {ports} and {host}",
            hint="EXPOSE names ports of the container alone: leave the host's out",
        )
    return tuple(f"{port}/{protocol}" for port in found)


def _check_address(text: str) -> None:
    import ipaddress  # which few builds need

    try:
        ipaddress.ip_address(text[1:-1] if text[:1] + text[-1:] == "[]" else text)
    except ValueError:
        raise FormatError(
            f"invalid IP address: {text}",
            hint="EXPOSE names ports of the container alone: leave the address out",
        ) from None


def _range(ports: str, kind: str, text: str) -> range:
    first, dash, last = ports.partition("-")
    begin = _port(first, kind, text)
    end = _port(last, kind, text) if dash else begin
    if end < begin:
        raise FormatError(f"invalid {kind}: {text}: the range ends before it begins")
    return range(begin, end + 1)


def _port(digits: str, kind: str, text: str) -> int:
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 5 or int(digits) > _MAX_PORT:
        raise FormatError(f"invalid {kind}: {text}", hint=f"a number up to {_MAX_PORT}, or a range")
    return int(digits)


def parse_stop_signal(text: str) -> str:
    """Check a signal's name or number; it stays as it was written."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if digits.isascii() and digits.isdecimal():
        if len(digits) < 10 and int(digits):  # whether there is such a signal, the kernel knows
            return text
    elif _SIGNAL.fullmatch(text):
        return text
    raise FormatError(f"invalid signal: {text}", hint="a name as SIGTERM, or a number as 15")


SourceKind: TypeAlias = Literal["path", "url", "git"]
_GIT = re.compile(r"(?:git|ssh)://|[\w-]+@[\w.-]+:|https?://[^?#]*\.git(?:[?#]|\Z)", re.I | re.A)
_URL = re.compile(r"(?:https?|ftp)://", re.I)


def source_kind(text: str) -> SourceKind:
    """Say what a source of COPY or ADD names."""
    if _GIT.match(text):
        return "git"
    return "url" if _URL.match(text) else "path"


def is_http(text: str) -> bool:
    """Say whether a source is a file that ADD fetches: no git repository, and not with FTP."""
    return source_kind(text) == "url" and not text.lower().startswith("ftp:")


def check_source(instruction: str, text: str) -> None:
    """Refuse a source that COPY cannot have, or that ADD does not support.

    The parser asks once for the text as written; ask again once variables are expanded.
    """
    kind = source_kind(text)
    if kind == "path" or (instruction == "ADD" and (kind == "git" or is_http(text))):
        return
    if instruction == "COPY":
        called = "a URL" if kind == "url" else "a git ref"
        raise FormatError(f"source can't be {called} for COPY", hint="write ADD")
    raise FormatError(
        f"ADD of an ftp:// URL is not supported: {text}",
        hint="fetch it before the build and COPY it from the context, or fetch it in a RUN",
    )
