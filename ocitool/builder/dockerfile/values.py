"""Values checked once their variables are expanded: ports, signals, sources.

Every function takes expanded text and raises `FormatError` without a location: the caller knows
the instruction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

from ocitool.builder.dockerfile.lines.excerpt import without_credentials
from ocitool.errors import FormatError
from ocitool.go_values import quoted

__all__ = [
    "Port",
    "SourceKind",
    "check_source",
    "is_http",
    "parse_stop_signal",
    "source_kind",
]

_PROTOCOLS = ("tcp", "udp", "sctp")
_MAX_PORT = 65535
_PORT_HINT = "EXPOSE takes only ports of the container, such as 80 or 8000-8010/udp"
_SIGNAL = re.compile(
    r"(?:SIG)?(?:ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|"
    r"SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|"
    r"XFSZ|RTMIN|RTMAX"
    r"|RTMIN\+(?:[1-9]|1[0-5])|RTMAX-(?:[1-9]|1[0-4]))",
    re.I,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One word of EXPOSE: ``80``, ``80/udp``, ``8000-8002/tcp``.

    ``address`` and ``host`` are of ``ip:host:container``, as ``docker run -p`` takes it; they have
    no effect.
    """

    text: str
    address: str
    host: str
    container: str
    protocol: str  # as it is written

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a word; `FormatError` if a port is missing or the protocol is unknown."""
        published, _, container = text.rpartition(":")
        address, _, host = published.rpartition(":")
        ports, _, protocol = container.partition("/")
        if not ports:
            raise FormatError(f"invalid port: {quoted(text)}: no port specified", hint=_PORT_HINT)
        if protocol.lower() not in ("", *_PROTOCOLS):
            raise FormatError(
                f"invalid port: {quoted(text)}: invalid proto: {protocol}",
                hint=f"one of {', '.join(_PROTOCOLS)}",
            )
        return cls(text=text, address=address, host=host, container=ports, protocol=protocol)

    def exposed(self) -> tuple[str, ...]:
        """Return the container's ports, such as ``80/tcp``; `FormatError` for an invalid part."""
        address = self.address
        if address.startswith("[") and address.endswith("]"):
            address = address[1:-1]
        if address and not _is_address(address):
            raise FormatError(f"invalid IP address: {self.address}", hint=_PORT_HINT)
        ports = _range(self.container, "containerPort")
        if self.host:
            count = len(_range(self.host, "hostPort"))
            if len(ports) not in (1, count):
                raise FormatError(
                    "invalid ranges specified for container and host Ports: "
                    f"{self.container} and {self.host}",
                    hint=_PORT_HINT,
                )
        return tuple(f"{port}/{self.protocol.lower() or 'tcp'}" for port in ports)


def _is_address(text: str) -> bool:
    from ipaddress import ip_address  # rarely needed

    try:
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return False


def _range(text: str, kind: str) -> range:
    first, dash, last = text.partition("-")
    begin = _port(first, kind, text)
    end = _port(last, kind, text) if dash else begin
    if end < begin:
        raise FormatError(f"invalid {kind}: {text}", hint="the range ends before it begins")
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
    raise FormatError(
        f"invalid signal: {text}", hint="use a name such as SIGTERM, or a number such as 15"
    )


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
    """Refuse a source, expanded, that COPY cannot have, or that ADD does not support."""
    kind = source_kind(text)
    if kind == "path" or (instruction == "ADD" and (kind == "git" or is_http(text))):
        return
    if instruction == "COPY":
        called = "a URL" if kind == "url" else "a git ref"
        raise FormatError(f"source can't be {called} for COPY", hint="write ADD")
    raise FormatError(
        f"ADD of an ftp:// URL is not supported: {without_credentials(text)}",
        hint="fetch it before the build and COPY it from the context, or fetch it in a RUN",
    )
