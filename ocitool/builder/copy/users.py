"""User and group names of an image, from its own passwd and group files."""

from __future__ import annotations

from collections.abc import Callable

from ocitool.builder.chown_chmod import parse_chown
from ocitool.errors import BuildError, NotFound

_LARGEST_ID = 2**32 - 2
_DIGITS = 10  # that it has

Read = Callable[[str], bytes]
"""Returns a file of the image; `NotFound`."""


def owner_of(text: str, read: Read) -> tuple[int, int]:
    """Return the IDs that ``user[:group]`` means in an image whose files *read* returns.

    A user's name alone brings its primary group, a number alone the group of that number.  root
    is 0 whatever these files say, as in BuildKit.

    Raises:
        BuildError: a name that the image does not have.
    """
    user, group = parse_chown(text)
    number = _number(user)
    if number is None:
        fields = _look_up(user, "/etc/passwd", read)
        uid, primary = _field(fields, 2, "/etc/passwd"), _field(fields, 3, "/etc/passwd")
    else:
        uid = primary = number
    if group is None:
        return uid, primary
    gid = _number(group)
    if gid is None:
        gid = _field(_look_up(group, "/etc/group", read), 2, "/etc/group")
    return uid, gid


def _number(text: str) -> int | None:
    return 0 if text == "root" else _id(text.removeprefix("+"))  # as Go reads numbers


def _id(text: str) -> int | None:
    """Return *text* as an ID; None unless it consists of digits."""
    if not text.isascii() or not text.isdecimal():
        return None
    # Python refuses to read thousands of digits.
    if len(text.lstrip("0")) > _DIGITS or int(text) > _LARGEST_ID:
        raise BuildError(
            f"invalid user or group ID: {text}", hint=f"the largest ID is {_LARGEST_ID}"
        )
    return int(text)


def _look_up(name: str, path: str, read: Read) -> list[str]:
    try:
        lines = read(path).decode("utf-8", "surrogateescape").splitlines()
    except NotFound:
        raise BuildError(
            _unknown(name, path), hint=f"the image has no {path}; use numeric IDs"
        ) from None
    for line in lines:
        fields = line.split(":")
        if fields[0] == name:
            return fields
    raise BuildError(_unknown(name, path), hint="create it in an earlier RUN, or use numeric IDs")


def _unknown(name: str, path: str) -> str:
    """Return the message of runc and docker for a name that is not in *path*."""
    kind = {"/etc/passwd": "user", "/etc/group": "group"}[path]
    return f"unable to find {kind} {name}: no matching entries in {path.removeprefix('/etc/')} file"


def _field(fields: list[str], at: int, path: str) -> int:
    number = _id(fields[at].strip()) if at < len(fields) else None
    if number is None:
        raise BuildError(f"the line of {fields[0]!r} is malformed", where=path)
    return number
