"""Finding mounts in a store: those that killed processes have left, and the administrator's.

Source: proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ocitool.store.directory.layout import Layout
from ocitool.store.directory.leases import is_alive, lease_of
from ocitool.store.maintenance.check.problems import Problem
from ocitool_runtime.sandbox.rootfs.image_mounts import is_orphaned


def leaked_mounts(layout: Layout) -> Iterator[Problem]:
    """Yield the mounts below *layout*, in this namespace, that belong to no running process.

    Mounts of the administrator (the store itself, its blobs) are not among them.
    """
    for path, parts in _mounts(layout):
        if _is_work(parts) and not _lives(layout, parts):
            yield Problem(what=f"orphaned mount: {path}", remedy=f"run `umount {path}`")


def foreign_mounts(layout: Layout) -> list[str]:
    """Return the mount points below *layout* that ocitool has not made."""
    return [path for path, parts in _mounts(layout) if not _is_work(parts)]


def _mounts(layout: Layout) -> Iterator[tuple[str, list[str]]]:
    """Yield the mount points below *layout*, and their parts after its root."""
    top = f"{os.path.realpath(layout.root)}/"
    with open("/proc/self/mountinfo", "rb") as file:
        paths = [_unescaped(line.split(b" ")[4]) for line in file]
    for path in paths:
        if path.startswith(top):
            yield path, path.removeprefix(top).split("/")


def _is_work(parts: list[str]) -> bool:
    """Say whether *parts* are those of a path where only ocitool creates directories."""
    return len(parts) > 1 and (
        parts[0] in ("tmp", "containers") or (parts[0] == "drivers" and len(parts) > 3)
    )


def _lives(layout: Layout, parts: list[str]) -> bool:
    if parts[0] == "drivers" and parts[2] == "trees":
        return is_alive(layout, lease_of(parts[3]))
    if parts[0] == "drivers" and parts[2] == "mounts":
        return not is_orphaned(f"{layout.root}/{'/'.join(parts[:4])}")
    return parts[0] == "tmp" and is_alive(layout, parts[1])


def _unescaped(path: bytes) -> str:
    plain = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), path)
    return os.fsdecode(plain)
