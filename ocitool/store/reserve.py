"""Room that is kept for removing things: on a disk without a free byte that needs some, too."""

from __future__ import annotations

import contextlib
import os
from typing import Final

from ocitool.store.disk import free_bytes
from ocitool.store.layout import Layout

_SIZE: Final = 4 << 20  # bytes: index.json anew, the database's log, a few directories
_TIMES: Final = 8  # as much must be free, or the reserve would be what fills the disk


def keep(layout: Layout) -> None:
    """See to it that there is a reserve, if there is room for it."""
    with contextlib.suppress(OSError):  # done without, where there is no room for it
        if os.path.exists(layout.reserve) or free_bytes(layout.root) < _TIMES * _SIZE:
            return
        fd = os.open(layout.reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _SIZE)
        except OSError:
            os.unlink(layout.reserve)
        finally:
            os.close(fd)


def give(layout: Layout) -> None:
    """Free the reserve if the disk is full: whoever removes things needs it now."""
    with contextlib.suppress(OSError):
        state = os.statvfs(layout.root)
        # Not what root may have beyond that: ext4 counts room there that nobody gets.
        if state.f_bavail * state.f_frsize < _SIZE:
            os.unlink(layout.reserve)
