"""A file of the build context as an entry of a layer."""

from __future__ import annotations

import os
import stat

from ocitool.layer import xattrs
from ocitool.layer.changes.describe import Change, Links
from ocitool.layer.changes.describe import describe as describe_any
from ocitool.layer.entry import Entry, Kind


def describe(host_path: str, path: str, state: os.stat_result, links: Links) -> Change:
    """Return the change for one file as `ocitool.layer.changes.describe`, without xattrs.

    File capabilities are kept: they are part of a program.  A socket is an empty file.

    Source: BuildKit's tests, which want a file for a socket of the context.
    """
    change = describe_any(host_path, path, state, links)
    if change is None:
        mode, owner, group = stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid
        return Change(Entry(path, Kind.FILE, mode, owner, group, 0, state.st_mtime_ns), host_path)
    if not change.entry.xattrs:
        return change
    entry = change.entry._replace(xattrs=xattrs.capabilities(change.entry.xattrs))
    return change._replace(entry=entry)
