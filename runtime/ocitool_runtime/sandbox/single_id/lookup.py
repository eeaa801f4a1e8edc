"""The files that callers name, opened as they would be opened by them.

The callers are not trusted.  The kernel looks their paths up from their own root and working
directory, without magic links, into a descriptor, and only files on the mount of the container's
root are found, and on mounts whose files have the same owners: no volume, no /proc.  A program
that changes a path meanwhile can only have another file of its own container found, which it could
have named directly.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import os
import stat

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.files import mount_id
from ocitool_runtime.sandbox.notify.request import Named, split
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.single_id import ownership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOK = os.O_PATH | os.O_CLOEXEC


class Lookup:
    """Finds files for callers, in a thread with a root and a working directory of its own.

    Its working directory is the shim's /proc, so that `name_of` names open files.
    """

    def __init__(self, proc: int, root: int, owned: Sequence[int]) -> None:
        """*proc* is an open /proc, *root* the container's root; *owned* are roots of mounts."""
        syscalls.unshare(syscalls.CLONE_FS)
        os.umask(0)
        self._proc = proc
        self._root = root
        self._mounts = {mount_id(each, proc) for each in (root, *owned)}
        self._at_home = os.stat(root)
        os.fchdir(root)
        os.chroot(".")
        os.fchdir(proc)

    def find(self, call: Call, named: Named, *, follow: bool) -> int:
        """Open *named*, with O_PATH; `LeftToKernel` if it is on another mount."""
        return self._find(call, named.start, named.path, 0 if follow else os.O_NOFOLLOW)

    def find_parent(self, call: Call, named: Named) -> tuple[int, bytes]:
        """Open the directory of *named*; return it and the last name, ``b""`` for none."""
        parent, name = split(named.path)
        return self._find(call, named.start, parent, os.O_DIRECTORY), name

    def has_owner(self, call: Call, named: Named, *, follow: bool) -> bool:
        """Say whether *named* may belong to another than root: one look, for most do not.

        Of pipes only without *follow*.
        """
        path = self._seen(call, named)
        if path is None:
            return True
        try:
            owner = os.getxattr(path, ownership.OWNER, follow_symlinks=follow or not named.path)
        except OSError as error:
            if error.errno != errno.ENODATA or follow or not named.path:
                return False
        else:
            return owner != b"0:0"
        try:
            os.getxattr(os.path.dirname(path.rstrip(b"/")), ownership.CHILDREN)
        except OSError:
            return False
        return True

    def may_be_child(self, call: Call, named: Named) -> bool:
        """Say whether *named* may be a link or a pipe, whose owner its directory has."""
        path = self._seen(call, named)
        try:
            return path is None or is_child(os.lstat(path))
        except OSError:
            return False

    def makes_roots(self, call: Call, named: Named) -> bool:
        """Say whether what root makes as *named* belongs to root: its directory is not setgid.

        In doubt False.
        """
        path = self._seen(call, Named(named.start, split(named.path)[0], []))
        try:
            return path is not None and not os.stat(path).st_mode & stat.S_ISGID
        except OSError:
            return False

    def _seen(self, call: Call, named: Named) -> bytes | None:
        """Return the path of *named* for this thread; None if the caller has another root."""
        try:
            if not os.path.samestat(os.stat(b"%d/root" % call.pid), self._at_home):
                return None
        except OSError:
            raise LeftToKernel from None
        if named.path.startswith(b"/"):
            return b"%d/root%s" % (call.pid, named.path)
        start = b"%d/%s" % (call.pid, named.start.encode())
        return b"%s/%s" % (start, named.path) if named.path else start

    def _find(self, call: Call, start: str, path: bytes, flags: int) -> int:
        try:
            fd = self._look_up(call.caller, start, path, flags | _LOOK)
        except OSError:
            raise LeftToKernel from None
        try:
            if mount_id(fd, self._proc) not in self._mounts:
                raise LeftToKernel
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _look_up(self, caller: int, start: str, path: bytes, flags: int) -> int:
        if not path:
            return os.open(start, _LOOK, dir_fd=caller)
        start = "root" if path.startswith(b"/") else start  # then no descriptor counts
        moved = not os.path.samestat(os.stat("root", dir_fd=caller), self._at_home)
        here = os.open(start, _LOOK | os.O_DIRECTORY, dir_fd=caller)
        try:
            if moved:
                self._change_root(caller)
            os.fchdir(here)
            return syscalls.open_here(path, flags)
        finally:
            os.close(here)
            if moved:
                os.fchdir(self._root)
                os.chroot(".")
            os.fchdir(self._proc)

    def _change_root(self, caller: int) -> None:
        root = os.open("root", _LOOK | os.O_DIRECTORY, dir_fd=caller)
        try:
            os.fchdir(root)
            os.chroot(".")
        finally:
            os.close(root)


def name_of(fd: int) -> str:
    """Return the name of an open file, for calls that take no descriptor."""
    return f"self/fd/{fd}"


def is_child(state: os.stat_result) -> bool:
    """Say whether a file can have no attributes, so that its owner is recorded in its directory.

    Those are symbolic links and pipes, and sockets, which no layer contains.
    """
    return stat.S_IFMT(state.st_mode) in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK)
