"""The errors of a full or failing disk, as the store's own."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from ocitool.errors import StoreError


@contextlib.contextmanager
def full_disk(root: str) -> Iterator[None]:
    """Turn the errors of a full or failing disk into the store's own."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, root) from error


def disk_error(error: OSError, root: str) -> StoreError:
    """Return the store's error for one of the system."""
    place = error.filename if isinstance(error.filename, str) else root
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full_error(root)
    hint = ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "give --root a directory you may write to"
    return StoreError(f"{error.strerror or error}", where=place, hint=hint)


def full_error(where: str) -> StoreError:
    """Return the error of a full disk."""
    return StoreError(
        "the disk is full", where=where, hint="free some space: `ocitool system prune -a`"
    )
