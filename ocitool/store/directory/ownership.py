"""The owner of a store: another user could have put anything into a store that root uses.

Such a store is refused with a remedy, as git does for "dubious ownership", and ssh for its files.
The directories above a store are not checked: in containers they may have any owner.
"""

from __future__ import annotations

import os
import pwd
import stat

from ocitool.errors import StoreError


def require_own(root: str, trusted: str) -> None:
    """Refuse the directory *root*, if it exists, if another user decides what is in it.

    For root this is a directory of another user, unless *trusted* is that user's ID.  For every
    user it is a symbolic link of another user, except root's.

    Raises:
        StoreError: it is one of these.
    """
    try:
        link, state = os.lstat(root), os.stat(root)
    except OSError:  # opening it raises the error
        return
    me = os.geteuid()
    if stat.S_ISLNK(link.st_mode) and str(link.st_uid) not in (str(me), "0", trusted):
        raise StoreError(
            f"path is a symbolic link of the user {_named(link.st_uid)}",
            where=root,
            hint=f"use --root with the directory that it points to: {os.path.realpath(root)}",
        )
    if me == 0 and str(state.st_uid) not in ("0", trusted):
        raise StoreError(
            f"directory belongs to the user {_named(state.st_uid)}, who controls its content: "
            "root does not use stores of other users",
            where=root,
            hint="run as that user, or use --root with a directory of root's; if only you have "
            f"that user's rights, as on a container's volume, set OCITOOL_TRUSTED_OWNER="
            f"{state.st_uid}",
        )


def require_closed(root: str) -> None:
    """Refuse the store *root* if all users may write to it; `StoreError` has the remedy."""
    if stat.S_IMODE(os.stat(root).st_mode) & stat.S_IWOTH:
        raise StoreError(
            "directory is writable by all users, so that its content cannot be trusted",
            where=root,
            hint=f"check its content, then run `chmod o-w {root}`",
        )


def _named(uid: int) -> str:
    try:
        return f"{uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return str(uid)
