"""A file of the build context as an entry of a layer."""

from __future__ import annotations

import os
import stat

from ocitool.builder.context.file_tree import FileTree
from ocitool.layer import xattrs
from ocitool.layer.changes.describe import Links
from ocitool.layer.changes.describe import describe as describe_any
from ocitool.layer.entry import NO_XATTRS, Entry, Kind


def describe(
    tree: FileTree, inner: str, path: str, state: os.stat_result, links: Links | None = None
) -> Entry:
    """Return the entry *path* for the file *inner* as `ocitool.layer.changes.describe`.

    Of xattrs file capabilities are kept: they are part of a program.  A socket is an empty file.

    Source: BuildKit's tests, which want a file for a socket of the context.
    """
    change = describe_any(tree.host_path(inner), path, state, {} if links is None else links)
    if change is None:
        mode, owner, group = stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid
        return Entry(path, Kind.FILE, mode, owner, group, 0, state.st_mtime_ns)
    entry = change.entry
    # What was read by the host path may be of a file outside, so it only says where to look again.
    if entry.kind == Kind.SYMLINK:
        return entry._replace(link=tree.readlink(inner), xattrs=NO_XATTRS)
    if not entry.xattrs:
        return entry
    if entry.kind != Kind.FILE:
        return entry._replace(xattrs=NO_XATTRS)
    with tree.opened(inner) as fd:
        return entry._replace(xattrs=xattrs.capabilities(xattrs.read(fd)))
