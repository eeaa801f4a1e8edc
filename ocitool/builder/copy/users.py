"""User and group names of an image, from its own passwd and group files."""

from __future__ import annotations

from collections.abc import Callable

from ocitool.builder.attributes import parse_chown
from ocitool.errors import BuildError, NotFound

_LARGEST_ID = 2**32 - 2

Read = Callable[[str], bytes]
"""Returns a file of the image; `NotFound`."""


def owner_of(text: str, read: Read) -> tuple[int, int]:
    """Return the ids that ``user[:group]`` means in an image whose files *read* returns.

    A user's name alone brings its primary group, a number alone the group of that number.

    Raises:
        BuildError: a name that the image does not know.
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
    if not text.isascii() or not text.isdecimal():
        return None
    number = int(text)
    if number > _LARGEST_ID:
        raise BuildError(f"{text} is no user or group id", hint=f"ids go up to {_LARGEST_ID}")
    return number


def _look_up(name: str, path: str, read: Read) -> list[str]:
    try:
        lines = read(path).decode("utf-8", "surrogateescape").splitlines()
    except NotFound:
        raise BuildError(
            f"no {path} to look up {name!r} in", hint="the image has none; write numbers"
        ) from None
    for line in lines:
        fields = line.split(":")
        if fields[0] == name:
            return fields
    raise BuildError(
        f"{name!r} is not in the image's {path}", hint="create it in an earlier RUN, or use ids"
    )


def _field(fields: list[str], at: int, path: str) -> int:
    try:
        return int(fields[at])
    except (IndexError, ValueError):
        raise BuildError(f"the line of {fields[0]!r} is malformed", where=path) from None
