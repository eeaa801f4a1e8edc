"""What a process may do with a file by the file's mode and owner, as the kernel judges it.

Root may do everything here.  Who else may read what is not judged: that would be each open(2).

Runs in: shim.  Imports only the standard library.
Source: fs/namei.c, generic_permission, may_delete; path_resolution(7).
"""

from __future__ import annotations

import errno
import os
import stat

from ocitool_runtime.sandbox.notify.request import Named
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.single_id import ownership
from ocitool_runtime.sandbox.single_id.credentials import Credentials
from ocitool_runtime.sandbox.single_id.lookup import Lookup, is_child, name_of

WRITE = 2
SEARCH = 1
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def permits(caller: Credentials, mode: int, uid: int, gid: int, wanted: int) -> bool:
    """Say whether the *mode* of a file of *uid*:*gid* gives *caller* all that is *wanted*.

    That are bits: 4 to read, 2 to write, 1 to execute.
    """
    if caller.owns_all():
        return not wanted & 1 or stat.S_ISDIR(mode) or bool(mode & 0o111)
    if uid == caller.uids[3]:
        mode >>= 6
    elif caller.in_group(gid):
        mode >>= 3
    return mode & wanted == wanted


class Permissions:
    """Raises PermissionError if a caller may not do something, and otherwise returns."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def require(
        self, call: Call, caller: Credentials, file: Named, wanted: int, *, follow: bool = True
    ) -> None:
        """Require the bits *wanted* of a file or directory.

        Raises `LeftToKernel` where that is not known: of other kinds, and on other mounts.
        """
        found = self._lookup.find(call, file, follow=follow)
        try:
            state = os.stat(found)
            if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
                raise LeftToKernel
            uid, gid = ownership.owner_of(name_of(found))
        finally:
            os.close(found)
        if not permits(caller, state.st_mode, uid, gid, wanted):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def require_owner(
        self, call: Call, caller: Credentials, file: Named, *, follow: bool = True
    ) -> None:
        """Require that a file or directory is the caller's; `LeftToKernel` as for `require`."""
        found = self._lookup.find(call, file, follow=follow)
        try:
            if is_child(os.stat(found)):
                raise LeftToKernel
            uid, _ = ownership.owner_of(name_of(found))
        finally:
            os.close(found)
        if uid != caller.uids[3]:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    def require_entry(self, call: Call, caller: Credentials, file: Named) -> None:
        """Require that the caller may make or remove *file* in its directory."""
        file.path = file.path.rstrip(b"/") or b"/"
        directory, name = self._lookup.find_parent(call, file)
        try:
            mode = os.stat(directory).st_mode
            owner = ownership.owner_of(name_of(directory))
            if not permits(caller, mode, *owner, WRITE | SEARCH):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            theirs = mode & stat.S_ISVTX and owner[0] != caller.uids[3]
            if theirs and name and _owner_in(directory, name) not in (None, caller.uids[3]):
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        finally:
            os.close(directory)


def _owner_in(directory: int, name: bytes) -> int | None:
    """Return whose a file of an open directory is; None if it is missing."""
    try:
        state = os.lstat(name, dir_fd=directory)
        if is_child(state):
            return ownership.child_owner(name_of(directory), name, state.st_mtime_ns)[0]
        file = os.open(name, _LOOK, dir_fd=directory)
    except OSError:
        return None
    try:
        return ownership.owner_of(name_of(file))[0]
    finally:
        os.close(file)
