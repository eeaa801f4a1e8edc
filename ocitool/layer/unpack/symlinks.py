"""Following links in a tree that is being made, as every engine does and never out of the tree."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import TypeVar

from ocitool.errors import LayerError, UnsafePath
from ocitool.layer.entry import split
from ocitool.layer.unpack.lower import MOST_LINKS

Found = TypeVar("Found")


def follow(
    path: str,
    look: Callable[[str], Found | None],
    target: Callable[[Found], str],
    ensure: Callable[[str, Found | None], None],
    ours: Container[str],
) -> str:
    """Return the path without links of the directory *path*, which is made where it is missing.

    *look* tells what a path is, whose directories are no links; *target* where that leads if it is
    a link, ``""`` if it is none; *ensure* makes it a directory if it is not.  *ours* are the paths
    that the layer itself has made.

    Raises:
        UnsafePath: a link leads out of the tree.
        LayerError: there are too many of them.
    """
    done = ""
    todo = path.split("/")[::-1]
    links = 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            if not done:
                raise UnsafePath("a link leads out of the tree", where=path)
            done = split(done)[0]
            continue
        here = f"{done}/{name}" if done else name
        found = look(here)
        leads = "" if found is None else target(found)
        if not leads:
            ensure(here, found)
            done = here
            continue
        links += 1
        if links > MOST_LINKS:
            raise LayerError("too many levels of symbolic links", where=path)
        if leads.startswith("/"):
            # In an image the top is the tree's.  Engines write members where they are, not
            # behind a link of the same layer: that is how an attack looks.
            if here in ours:
                raise UnsafePath("a link leads out of the tree", where=path)
            done = ""
        todo.extend(leads.split("/")[::-1])
    return done


class _Missing(Exception):
    """A path leads to no directory."""


def leads_to_directory(
    path: str,
    look: Callable[[str], Found | None],
    target: Callable[[Found], str],
    is_directory: Callable[[Found], bool],
    ours: Container[str],
) -> bool:
    """Say whether *path* is a directory already, links followed; see `follow`."""

    def ensure(here: str, found: Found | None) -> None:
        if found is None or not is_directory(found):
            raise _Missing

    try:
        follow(path, look, target, ensure, ours)
    except _Missing:
        return False
    return True
