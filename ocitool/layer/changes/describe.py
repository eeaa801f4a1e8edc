"""A file of the machine as an entry of a layer."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import NamedTuple

from ocitool.layer import xattrs
from ocitool.layer.entry import NO_XATTRS, Entry, Kind, kind_of


class Change(NamedTuple):
    """An entry, and the path of the file it describes; ``""`` where there is none of its own."""

    entry: Entry
    host_path: str


#: The first name of every file that has several, and its state.
Links = dict[tuple[int, int], tuple[str, os.stat_result]]


def describe(host_path: str, path: str, state: os.stat_result, links: Links) -> Change | None:
    """Return the change for one file; None for sockets.

    *links* remembers those that have several names.
    """
    kind = kind_of(state.st_mode)
    if not kind:
        return None
    if state.st_nlink > 1 and kind != Kind.DIRECTORY:
        # As it was at first: a clamp changes its time, by which owners may be known.
        first, state = links.setdefault((state.st_dev, state.st_ino), (path, state))
        if first != path:
            linked = _entry(path, Kind.HARDLINK, state, 0, first, NO_XATTRS)
            # A link or pipe may be known by each of its names, and by its time.
            return Change(linked, host_path if kind in (Kind.SYMLINK, Kind.FIFO) else "")
    size = state.st_size if kind == Kind.FILE else 0
    link = os.readlink(host_path) if kind == Kind.SYMLINK else ""
    return Change(_entry(path, kind, state, size, link, xattrs.read(host_path)), host_path)


def _entry(
    path: str, kind: str, state: os.stat_result, size: int, link: str, values: Mapping[str, bytes]
) -> Entry:
    device = (0, 0)
    if kind in (Kind.CHAR, Kind.BLOCK):
        device = (os.major(state.st_rdev), os.minor(state.st_rdev))
    mode = stat.S_IMODE(state.st_mode)
    owner, group, mtime = state.st_uid, state.st_gid, state.st_mtime_ns
    return Entry(path, kind, mode, owner, group, size, mtime, link, device, values)
