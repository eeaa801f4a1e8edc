"""Looking into the trees below the one that is being made."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ocitool.errors import UnsafePath
from ocitool.layer import ownership, xattrs
from ocitool.layer.entry import SYMLINK, Entry, split
from ocitool.layer.whiteouts import is_whiteout

MOST_LINKS = 40  # as the kernel, path_resolution(7)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Known(NamedTuple):
    """What a stack of layers says of a path, but for its content."""

    mode: int  # with the type, as in st_mode
    uid: int
    gid: int
    mtime: int  # nanoseconds since the epoch
    xattrs: Mapping[str, bytes]  # those that belong to a layer


#: Looks a path up in the layers below; None if they have none.  It holds no links.
Look = Callable[[str], Known | None]


def in_directories(lower: Sequence[str]) -> Look:
    """Return the look-up in the trees *lower*, the topmost first."""

    def look(path: str) -> Known | None:
        found = find(lower, path)
        if found is None:
            return None
        place, state = found
        return Known(
            state.st_mode, state.st_uid, state.st_gid, state.st_mtime_ns, xattrs.read(place)
        )

    return look


def inherit(found: tuple[str, os.stat_result] | None, fd: int) -> None:
    """Give the directory *fd* the attributes of the one that `find` has *found* below."""
    if found is None or not stat.S_ISDIR(found[1].st_mode):
        return
    place, state = found
    ownership.here().give(fd, state.st_uid, state.st_gid)
    os.fchmod(fd, stat.S_IMODE(state.st_mode))
    xattrs.write(fd, xattrs.read(place))
    os.utime(fd, ns=(state.st_mtime_ns, state.st_mtime_ns))


def copy_up(lower: Sequence[str], path: str, fd: int, name: str) -> bool:
    """Copy the file or link *path* of the trees *lower* to *name* in the directory *fd*."""
    found = find(lower, path)
    if found is None:
        return False
    place, state = found
    if stat.S_ISLNK(state.st_mode):
        os.symlink(os.readlink(place), name, dir_fd=fd)
        mtime = state.st_mtime_ns
        entry = Entry(path, SYMLINK, uid=state.st_uid, gid=state.st_gid, mtime=mtime)
        ownership.here().give_node(name, entry, fd)
        times = (mtime, mtime)
        os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)
        return True
    if not stat.S_ISREG(state.st_mode):
        return False
    with open(place, "rb") as source:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(name, flags, 0o600, dir_fd=fd), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            ownership.here().give(target.fileno(), state.st_uid, state.st_gid)
            os.fchmod(target.fileno(), stat.S_IMODE(state.st_mode))
            xattrs.write(target.fileno(), xattrs.read(source.fileno()))
            os.utime(target.fileno(), ns=(state.st_mtime_ns, state.st_mtime_ns))
    return True


def find(lower: Sequence[str], path: str) -> tuple[str, os.stat_result] | None:
    """Return place and state of *path* in the topmost tree that shows it, None if none does.

    *path* holds no links: each of its components is looked at without following.
    """
    for tree in lower:
        state = _state(tree, path)
        if state is _HIDDEN:
            return None
        if isinstance(state, os.stat_result):
            place = f"{tree}/{path}"
            return place, ownership.here().seen(place, state)
    return None


def covers(lower: Sequence[str], tree: str, path: str) -> bool:
    """Say whether the trees *lower* have something at *path* that *tree*, on them, could hide."""
    place = tree
    for part in path.split("/")[:-1]:
        place = f"{place}/{part}"
        if _opaque(place):
            return False
    return find(lower, path) is not None


def resolve(stack: Sequence[str], path: str) -> str:
    """Return *path* without links, as the trees *stack* show it; what is not there stays as it is.

    Raises:
        UnsafePath: links lead in a circle.
    """
    done = ""
    todo = path.split("/")[::-1] if path else []
    links = 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            done = split(done)[0]
            continue
        here = f"{done}/{name}" if done else name
        found = find(stack, here)
        if found is None or not stat.S_ISLNK(found[1].st_mode):
            done = here
            continue
        links += 1
        if links > MOST_LINKS:
            raise UnsafePath("links lead in a circle", where=path)
        target = os.readlink(found[0])
        done = "" if target.startswith("/") else done
        todo.extend(target.split("/")[::-1])
    return done


_HIDDEN = object()


def _state(tree: str, path: str) -> object:
    """The state of *path* in one tree; None if it says nothing, `_HIDDEN` if it hides it."""
    place = tree
    hidden = False
    parent, name = split(path)
    for part in [*parent.split("/"), name] if parent else [name]:
        if _opaque(place):
            hidden = True
        place = f"{place}/{part}"
        try:
            state = os.lstat(place)
        except FileNotFoundError:
            return _HIDDEN if hidden else None
        except NotADirectoryError:
            return _HIDDEN  # a file hides what a directory below it holds
        if is_whiteout(state):
            return _HIDDEN
        if stat.S_ISLNK(state.st_mode) and place != f"{tree}/{path}":
            return _HIDDEN  # below a link there is nothing of this path
    return state


def _opaque(place: str) -> bool:
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        try:
            if os.getxattr(place, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False
