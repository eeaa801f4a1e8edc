"""Docker's ``user[:group]`` resolved by the container's own /etc/passwd and /etc/group.

This runs after the pivot, so that links in these paths stay in the container.
Runs in: container init.  Imports only the standard library.
Source: moby/sys/user, GetExecUser.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST_FILE = 1 << 20  # bytes; an endless file must not block the start
_LARGEST_ID = (1 << 31) - 1


class UnknownUser(Exception):
    """The container has no such user or group; the text names it."""


class User:
    """The user that the program runs as."""

    __slots__ = ("added", "gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups  # of the container's files
        self.added: list[int] = []  # that were asked for
        self.home = home


def resolve(
    spec: str,
    passwd: str = "/etc/passwd",
    group: str = "/etc/group",
    *,
    groups: Sequence[str] = (),
) -> User:
    """Return the user of *spec*, who is in *groups*, too.

    A number need not be in the files, a name must be.  Of names root alone is there without the
    file (BuildKit, executor/oci/user.go).

    Digits are an ID and never a name: an image's line for a user called 1000 would else be what
    ``-u 1000`` means, with the ID 0 (CVE-2016-3697).

    Raises UnknownUser, also for malformed numbers: "+1", " 1", "0x1".
    """
    user, _, wanted_group = spec.partition(":")
    uid = _id(user, passwd) if user else 0
    entry = _find_user(_rows(passwd, 7), user, uid)
    if entry is None and uid is None:
        raise UnknownUser(f"unable to find user {user}: no matching entries in passwd file")
    if entry is None:
        found = User(uid or 0, 0, [], "/")
        name = ""
    else:
        name = entry[0]
        found = User(_number(entry[2]) or 0, _number(entry[3]) or 0, [], entry[5] or "/")
    if wanted_group:
        found.gid = _find_group(group, wanted_group)
    elif name:
        found.groups = _memberships(_rows(group, 4), name)
    found.added = [_find_group(group, each) for each in groups]
    return found


def _id(text: str, path: str) -> int | None:
    """Return *text* as an ID; None for a name.  A container without *path* still has root."""
    if text == "root" and not os.path.exists(path):
        return 0
    return _number(text)


def _number(text: str) -> int | None:
    """Return *text* as an ID if it consists of digits (CVE-2026-30892: a lax parse)."""
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > _LARGEST_ID:
        raise UnknownUser(f"ID {text} is greater than {_LARGEST_ID}")
    return int(text)


def _find_user(rows: list[list[str]], name: str, uid: int | None) -> list[str] | None:
    for row in rows:
        if row[0] == name if uid is None else _same_id(row[2], uid):
            return row
    return None


def _same_id(digits: str, wanted: int) -> bool:
    return (digits.lstrip("0") or "0") == str(wanted)


def _find_group(path: str, wanted: str) -> int:
    gid = _id(wanted, path)
    if gid is not None:
        return gid
    for row in _rows(path, 4):
        if row[0] == wanted:
            return _number(row[2]) or 0
    raise UnknownUser(f"unable to find group {wanted}: no matching entries in group file")


def _memberships(rows: list[list[str]], name: str) -> list[int]:
    found = []
    for row in rows:
        if name in row[3].split(","):
            found.append(_number(row[2]) or 0)
    return found


def _rows(path: str, fields: int) -> list[list[str]]:
    """Return the well-formed lines of *path*; [] if it is missing or not a plain file."""
    found = []
    for line in _read(path).split("\n"):
        row = line.strip().split(":")
        if line.startswith("#") or len(row) < 3 or not (row[2].isascii() and row[2].isdigit()):
            continue
        row += [""] * (fields - len(row))
        if fields < 7 or not row[3] or (row[3].isascii() and row[3].isdigit()):
            found.append(row)
    return found


def _read(path: str) -> str:
    """Read a plain file of bounded size; a FIFO in its place must not block.

    A device is not even opened: in a chroot that may be one of the machine's, and start a watchdog.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return ""
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        return os.read(fd, _LARGEST_FILE).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)
