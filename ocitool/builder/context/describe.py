"""A file of the build context as an entry of a layer."""

from __future__ import annotations

import os

from ocitool.layer import xattrs
from ocitool.layer.changes.describe import Change, Links
from ocitool.layer.changes.describe import describe as describe_any


def describe(host_path: str, path: str, state: os.stat_result, links: Links) -> Change | None:
    """Return the change for one file as `ocitool.layer.changes.describe`, without xattrs.

    File capabilities are kept: they are part of a program.
    """
    change = describe_any(host_path, path, state, links)
    if change is None or not change.entry.xattrs:
        return change
    entry = change.entry._replace(xattrs=xattrs.capabilities(change.entry.xattrs))
    return change._replace(entry=entry)
