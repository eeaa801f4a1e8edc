"""Owners and modes as COPY, ADD and WORKDIR take them: ``user:group``, ``755``, ``u=rwX,go=rX``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ocitool.errors import FormatError


def parse_chown(text: str) -> tuple[str, str | None]:
    """Cut ``user[:group]``, names or numbers, into its parts.

    Without a group it is None: of a name it is that user's own, of a number the same number.
    An empty part before or after a colon, for example of a variable that is not set, is ``"0"``.
    An empty text means that there is no ``--chown``, and must not be passed.
    """
    user, colon, group = text.partition(":")
    if not (user or group) or ":" in group:
        raise FormatError(f"invalid chown parameter: '{text}'", hint="write --chown=user:group")
    return user or "0", (group or "0") if colon else None


_MAX = 0o7777
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o7}
_EVERYBODY, _OTHERS = 0o6777, 0o7
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
        before = mode
        for who, operator, permissions in self.actions:
            if permissions in _SHIFT:
                reach = who & 0o777
                bits = (mode >> _SHIFT[permissions] & 0o7) * 0o111
            else:
                # The sticky bit belongs to no class of users: only "t" means it, except for others.
                reach = who | (_STICKY if "t" in permissions and who != _OTHERS else 0)
                bits = _bits(permissions, before, is_dir)
            bits &= reach
            if operator == "-":
                mode &= ~bits
            elif operator == "+":
                mode |= bits
            else:
                mode = mode & ~reach | bits
        return mode


def parse_chmod(text: str) -> Chmod:
    """Read ``755`` or ``u=rwX,go=rX``; symbolic without a who means everybody, umask or not.

    Source: POSIX.1-2017, chmod, "Extended description"; where it leaves a choice, FreeBSD's
    setmode(3), which BuildKit follows: ``X`` asks for the mode before all changes, and ``=``
    leaves the sticky bit alone unless it is named.
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
                hint="use an octal mode such as 0755, or a symbolic one such as u=rwX,go=rX",
            )
        who = _mask(clause[1])
        actions += [(who, found[1], found[2]) for found in _ACTION.finditer(clause[2])]
    return Chmod(actions=tuple(actions))


def _mask(who: str) -> int:
    if not who or "a" in who:
        return _EVERYBODY
    mask = 0
    for letter in who:
        mask |= _WHO[letter]
    return mask


def _bits(permissions: str, mode: int, is_dir: bool) -> int:
    """Return the permissions for everybody, before they are cut down to who they are for."""
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
