"""Following symbolic links inside a tree, as in a chroot(2) to its root."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ocitool.errors import LayerError
from ocitool.layer.entry import shown

MAX_SYMLINKS: Final = 40  # as the kernel, path_resolution(7)


def resolve(path: str, readlink: Callable[[str], str], *, last: bool = True) -> str:
    """Return *path* without symbolic links; an absolute target starts at the tree's root.

    *readlink* returns the target of a path whose directories are no symbolic links, and ``""`` if
    it is something else or missing.  *last* says whether the last component is followed, too.
    ``..`` stays at the root.

    Raises:
        LayerError: there are more than `MAX_SYMLINKS` links, as ELOOP.
    """
    done = ""
    todo = path.split("/")[::-1]
    links = 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            done = done.rpartition("/")[0]
            continue
        here = f"{done}/{name}" if done else name
        target = readlink(here) if todo or last else ""
        if not target:
            done = here
            continue
        links += 1
        if links > MAX_SYMLINKS:
            raise LayerError("too many levels of symbolic links", where=shown(path.strip("/")))
        if target.startswith("/"):
            done = ""
        todo.extend(target.split("/")[::-1])
    return done
