"""Values checked once their variables are expanded: ports, signals, owners, modes, sources.

Every function takes expanded text and raises `FormatError` without a place: the caller knows
the instruction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ocitool.errors import FormatError

__all__ = [
    "Chmod",
    "SourceKind",
    "check_source",
    "parse_chmod",
    "parse_chown",
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
_MAX_SIGNAL = 64


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
    host = published.rpartition(":")[2]
    if host:
        _range(host, "hostPort", text)
    return tuple(f"{port}/{protocol}" for port in _range(ports, "containerPort", text))


def _range(ports: str, kind: str, text: str) -> range:
    first, dash, last = ports.partition("-")
    begin = _port(first, kind, text)
    end = _port(last, kind, text) if dash else begin
    if end < begin:
        raise FormatError(f"invalid {kind}: {text}: the range runs backwards")
    return range(begin, end + 1)


def _port(digits: str, kind: str, text: str) -> int:
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 5 or int(digits) > _MAX_PORT:
        raise FormatError(f"invalid {kind}: {text}", hint=f"a number up to {_MAX_PORT}, or a range")
    return int(digits)


def parse_stop_signal(text: str) -> str:
    """Check a signal's name or number; it stays as it was written."""
    if text.isascii() and text.isdecimal():
        if len(text) < 4 and 1 <= int(text) <= _MAX_SIGNAL:
            return text
    elif _SIGNAL.fullmatch(text):
        return text
    raise FormatError(f"invalid signal: {text}", hint="a name as SIGTERM, or a number as 15")


def parse_chown(text: str) -> tuple[str, str | None]:
    """Cut ``user[:group]``, names or numbers, into its parts.

    Without a group it is None: of a name it is that user's own, of a number the same number.
    Without a user, ``:group``, that is ``"0"``.  Whoever expanded to nothing has no ``--chown``.
    """
    user, _, group = text.partition(":")
    if not (user or group) or ":" in group:
        raise FormatError(f"invalid chown parameter: '{text}'", hint="write --chown=user:group")
    return user or "0", group or None


SourceKind: TypeAlias = Literal["path", "url", "git"]
_GIT = re.compile(r"(?:git|ssh)://|[\w.-]+@[\w.-]+:|https?://[^?#]*\.git/?(?:[?#]|\Z)", re.I | re.A)
_URL = re.compile(r"(?:https?|ftp)://", re.I)


def source_kind(text: str) -> SourceKind:
    """Say what a source of COPY or ADD names."""
    if _GIT.match(text):
        return "git"
    return "url" if _URL.match(text) else "path"


def check_source(instruction: str, text: str) -> None:
    """Refuse a source that COPY cannot have, or ADD not yet.

    The parser asks once for the text as written; ask again once variables are expanded.
    """
    kind = source_kind(text)
    if kind == "path":
        return
    called = "a URL" if kind == "url" else "a git ref"
    if instruction == "COPY":
        raise FormatError(f"source can't be {called} for COPY")
    raise FormatError(
        f"ADD of {called} is not there yet: {text}",
        hint="fetch it before the build and COPY it from the context, or fetch it in a RUN",
    )


_MAX = 0o7777
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007}
_READ, _WRITE, _EXECUTE = 0o444, 0o222, 0o111
_SET_ID, _STICKY = 0o6000, 0o1000
_SHIFT = {"u": 6, "g": 3, "o": 0}
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chmod:
    """A change of mode.

    ``octal`` is the mode itself, for files and directories alike; it is None if the change is
    symbolic, and then depends on the mode that a file has.
    """

    octal: int | None = None
    actions: tuple[tuple[int, str, str], ...] = ()  # who as a mask, operator, permissions

    def apply(self, mode: int, is_dir: bool) -> int:
        """Return the permission bits, at most 07777, that a file of *mode* gets."""
        if self.octal is not None:
            return self.octal
        mode &= _MAX
        for who, operator, permissions in self.actions:
            bits = _bits(permissions, mode, is_dir) & who
            if operator == "-":
                mode &= ~bits
            elif operator == "+":
                mode |= bits
            else:
                mode = mode & ~who | bits
        return mode


def parse_chmod(text: str) -> Chmod:
    """Read ``755`` or ``u=rwX,go=rX``; symbolic without a who means everybody, umask or not.

    Source: POSIX.1-2017, chmod, "Extended description".
    """
    if re.fullmatch("[0-7]+", text) and int(text, 8) <= _MAX:
        return Chmod(octal=int(text, 8))
    actions: list[tuple[int, str, str]] = []
    for part in text.split(","):
        clause = _CLAUSE.fullmatch(part)
        if clause is None:
            raise FormatError(
                f"invalid chmod parameter: '{text}'. it should be octal string and between 0 "
                "and 07777",
                hint="or symbolic, as u=rwX,go=rX",
            )
        who = _mask(clause[1])
        actions += [(who, found[1], found[2]) for found in _ACTION.finditer(clause[2])]
    return Chmod(actions=tuple(actions))


def _mask(who: str) -> int:
    if not who or "a" in who:
        return _MAX
    mask = 0
    for letter in who:
        mask |= _WHO[letter]
    return mask


def _bits(permissions: str, mode: int, is_dir: bool) -> int:
    """Return the permissions for everybody, before they are cut down to who they are for."""
    if permissions in _SHIFT:
        return (mode >> _SHIFT[permissions] & 0o7) * 0o111
    bits = 0
    for letter in permissions:
        if letter == "r":
            bits |= _READ
        elif letter == "w":
            bits |= _WRITE
        elif letter == "x" or (letter == "X" and (is_dir or mode & _EXECUTE)):
            bits |= _EXECUTE
        elif letter == "s":
            bits |= _SET_ID
        elif letter == "t":
            bits |= _STICKY
    return bits
