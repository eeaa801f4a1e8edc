"""Temporary directories outside of a store, for what is not to be kept.

Each is locked while its process is alive.  If the process is killed, the next one of the same user
that makes such a directory removes it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Final

from ocitool.layer.beneath import remove_tree
from ocitool.store.directory.atomic import is_same, make_locked, try_lock
from ocitool.store.directory.full_disk import full_disk

_PREFIX: Final = "ocitool-temporary-"
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def temporary_directory() -> Iterator[str]:
    """Yield a new directory of this user, which is removed afterwards.

    Raises:
        StoreError: the directory cannot be made.
    """
    with full_disk(os.environ.get("TMPDIR") or "/tmp"):
        top = tempfile.gettempdir()
        _remove_dead(top)
        path, fd = make_locked(lambda: tempfile.mkdtemp(prefix=_PREFIX, dir=top))
    try:
        yield path
    finally:
        remove_tree(path)
        os.close(fd)


def _remove_dead(top: str) -> None:
    """Remove the directories of this user that no process has locked; others may write to *top*."""
    try:
        names = os.listdir(top)
    except PermissionError:  # a directory that may only be written to
        return
    for name in names:
        if not name.startswith(_PREFIX):
            continue
        path = f"{top}/{name}"
        try:
            fd = os.open(path, _DIRECTORY)
        except OSError:  # it is another user's, or not a directory, or removed
            continue
        try:
            if os.fstat(fd).st_uid == os.geteuid() and try_lock(fd) and is_same(path, fd):
                with contextlib.suppress(OSError):  # it only wastes space
                    remove_tree(path)
        finally:
            os.close(fd)
