"""Looking paths up in directory trees that overlayfs would stack."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from ocitool.layer import ownership, xattrs
from ocitool.layer.entry import Entry, Kind, kind_of, split
from ocitool.layer.unpack.whiteouts import is_whiteout


def look(trees: Sequence[str], path: str) -> Entry | None:
    """Return *path* as the trees *trees*, the topmost first, show it; see `find`."""
    found = find(trees, path)
    return None if found is None else entry_of(path, *found)


def entry_of(path: str, host_path: str, state: os.stat_result) -> Entry:
    """Return the entry of the file *host_path*, which `find` has found at *path*."""
    kind = kind_of(state.st_mode)
    device = (0, 0)
    if kind in (Kind.CHAR, Kind.BLOCK):
        device = (os.major(state.st_rdev), os.minor(state.st_rdev))
    return Entry(
        path,
        kind,
        stat.S_IMODE(state.st_mode),
        state.st_uid,
        state.st_gid,
        size=state.st_size if kind == Kind.FILE else 0,
        mtime=state.st_mtime_ns,
        device=device,
        link=os.readlink(host_path) if stat.S_ISLNK(state.st_mode) else "",
        xattrs=xattrs.read(host_path),
    )


def find(lower: Sequence[str], path: str) -> tuple[str, os.stat_result] | None:
    """Return host path and state of *path* in the topmost tree that shows it; None if none does.

    *path* holds no links: each of its components is looked at without following.
    """
    for tree in lower:
        state = _state(tree, path)
        if state is _HIDDEN:
            return None
        if isinstance(state, os.stat_result):
            host_path = f"{tree}/{path}"
            return host_path, ownership.current().effective(host_path, state)
    return None


def merged_directories(paths: Iterable[str]) -> Iterator[str]:
    """Yield those of the host paths *paths*, the topmost first, that are merged to a directory."""
    for path in paths:
        try:
            state = os.lstat(path)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(state.st_mode):
            return
        yield path
        if _opaque(path):
            return


def covers(lower: Sequence[str], tree: str, path: str) -> bool:
    """Say whether the trees *lower* have something at *path* that *tree*, on them, could hide."""
    if not lower:
        return False
    host_path = tree
    for part in path.split("/")[:-1]:
        host_path = f"{host_path}/{part}"
        if _opaque(host_path):
            return False
    return find(lower, path) is not None


def readlink(trees: Sequence[str], path: str) -> str:
    """Return the target of the symbolic link *path*; ``""`` if there is no such link."""
    found = find(trees, path)
    return os.readlink(found[0]) if found and stat.S_ISLNK(found[1].st_mode) else ""


_HIDDEN = object()


def _state(tree: str, path: str) -> object:
    """The state of *path* in one tree; None if it says nothing, `_HIDDEN` if it hides it."""
    host_path = tree
    hidden = False
    parent, name = split(path)
    for part in [*parent.split("/"), name] if parent else [name]:
        if _opaque(host_path):
            hidden = True
        host_path = f"{host_path}/{part}"
        try:
            state = os.lstat(host_path)
        except FileNotFoundError:
            return _HIDDEN if hidden else None
        except NotADirectoryError:
            return _HIDDEN  # a file hides what a directory below it holds
        if is_whiteout(state):
            return _HIDDEN
        if stat.S_ISLNK(state.st_mode) and host_path != f"{tree}/{path}":
            return _HIDDEN  # below a link there is nothing of this path
    return state


def _opaque(host_path: str) -> bool:
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        try:
            if os.getxattr(host_path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False
