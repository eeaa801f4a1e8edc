"""The calls that make files, in single-ID mode: what they make belongs to their caller.

Where the owner is not root the shim makes the file itself, records the owner in an ownership
override xattr (`ownership`), and hands the open file over.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from ocitool_runtime.sandbox.kernel.files import status
from ocitool_runtime.sandbox.notify.request import Named, named, text_at
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel
from ocitool_runtime.sandbox.single_id import ownership
from ocitool_runtime.sandbox.single_id.credentials import Credentials
from ocitool_runtime.sandbox.single_id.lookup import Lookup, name_of
from ocitool_runtime.sandbox.single_id.permissions import WRITE, Permissions, permits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocitool_runtime.sandbox.single_id.credential_table import CredentialTable

_CAP_MKNOD = 27
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CREAT = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
_WRITES = os.O_CREAT | os.O_WRONLY | os.O_RDWR
_DEVICES = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}


class NewFiles:
    """Answers them for files on the mount of the container's root, and leaves others."""

    def __init__(
        self, lookup: Lookup, permissions: Permissions, table: CredentialTable, capabilities: int
    ) -> None:
        """*capabilities* is the mask of those that root has in this container."""
        self._lookup = lookup
        self._permissions = permissions
        self._table = table
        self._may_make_devices = bool(capabilities >> _CAP_MKNOD & 1)

    def handlers(self) -> dict[str, Callable[[Call], None]]:
        """Return what answers each call."""
        return {
            "open": lambda call: self._open(call, named(call, at=False)),
            "openat": lambda call: self._open(call, named(call, at=True)),
            "openat2": self._open_how,
            "creat": self._create,
            "mkdir": lambda call: self._make_directory(call, named(call, at=False)),
            "mkdirat": lambda call: self._make_directory(call, named(call, at=True)),
            "symlink": lambda call: self._make_link(call, named(call, at=False, skip=1)),
            "symlinkat": lambda call: self._make_link(call, named(call, at=True, skip=1)),
            "mknod": lambda call: self._make_node(call, named(call, at=False)),
            "mknodat": lambda call: self._make_node(call, named(call, at=True)),
        }

    def _open_how(self, call: Call) -> None:
        file = named(call, at=True)
        flags, mode, resolve = struct.unpack("=QQQ", call.memory(file.rest[0], 24))
        if resolve or not flags & _WRITES:  # how far a path may lead is for the kernel to judge
            raise LeftToKernel
        file.rest = [flags, mode]
        self._open(call, file)

    def _create(self, call: Call) -> None:
        file = named(call, at=False)
        file.rest.insert(0, _CREAT)
        self._open(call, file)

    def _open(self, call: Call, file: Named) -> None:
        flags, mode = file.rest[0] & 0xFFFFFFFF, file.rest[1] & 0o7777
        if not flags & os.O_CREAT:
            self.judge(call, file, flags)
            raise LeftToKernel
        with _Place(self, call, file, flags) as place:
            made = os.open(place.name, flags | _NEW, mode & ~_umask(call), dir_fd=place.directory)
            try:
                ownership.give(name_of(made), *place.owner)
                call.answer_descriptor(made, close_on_exec=bool(flags & os.O_CLOEXEC))
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # Before Linux 5.14; the kernel opens what is there, or makes it, as root's.
                if flags & os.O_EXCL:
                    os.unlink(place.name, dir_fd=place.directory)
                raise LeftToKernel from None
            finally:
                os.close(made)

    def _make_directory(self, call: Call, file: Named) -> None:
        file.path = file.path.rstrip(b"/") or b"/"
        with _Place(self, call, file) as place:
            os.mkdir(place.name, file.rest[0] & 0o1777 & ~_umask(call), dir_fd=place.directory)
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(place.name, flags, dir_fd=place.directory)
            try:
                ownership.give(name_of(made), *place.owner)
            finally:
                os.close(made)
        call.answer()

    def _make_link(self, call: Call, file: Named) -> None:
        target = text_at(call, call.arguments[0])
        with _Place(self, call, file) as place:
            os.symlink(target, place.name, dir_fd=place.directory)
            place.give_to_child()
        call.answer()

    def _make_node(self, call: Call, file: Named) -> None:
        mode, device = file.rest[0] & 0xFFFF, file.rest[1] & 0xFFFFFFFF
        kind = stat.S_IFMT(mode)
        if kind in _DEVICES:
            self._make_device(call, file, mode, device)
            return
        with _Place(self, call, file) as place:
            if kind == stat.S_IFIFO:
                os.mkfifo(place.name, mode & 0o7777 & ~_umask(call), dir_fd=place.directory)
                place.give_to_child()
            elif kind in (0, stat.S_IFREG):
                mode &= 0o7777 & ~_umask(call)
                made = os.open(place.name, os.O_WRONLY | _NEW, mode, dir_fd=place.directory)
                try:
                    ownership.give(made, *place.owner)
                finally:
                    os.close(made)
            else:
                raise LeftToKernel
        call.answer()

    def _make_device(self, call: Call, file: Named, mode: int, device: int) -> None:
        if not device:  # everybody may make 0:0, a whiteout
            raise LeftToKernel
        if not (self._may_make_devices and self._table.of(call.pid).owns_all()):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        directory, name = self._lookup.find_parent(call, file)
        try:
            if not name:
                raise LeftToKernel
            permissions = mode & 0o7777 & ~_umask(call)
            made = os.open(name, os.O_WRONLY | _NEW, permissions, dir_fd=directory)
        finally:
            os.close(directory)
        try:
            kind = _DEVICES[stat.S_IFMT(mode)]
            ownership.make_device(made, kind, os.major(device), os.minor(device))
        finally:
            os.close(made)
        call.answer()

    def judge(self, call: Call, file: Named, flags: int) -> None:
        """Raise PermissionError if the caller may not open *file*, which is there."""
        caller = self._table.of(call.pid)
        if not caller.owns_all():
            wanted = (4, 2, 6, 6)[flags & os.O_ACCMODE] | (WRITE if flags & os.O_TRUNC else 0)
            follow = not flags & os.O_NOFOLLOW
            self._permissions.require(call, caller, file, wanted, follow=follow)

    def place(self, call: Call, file: Named) -> tuple[Credentials, int, bytes]:
        """Return the caller's credentials, the directory of *file*, and its name.

        Raises `LeftToKernel` where it is quickly seen that the file belongs to root.
        """
        caller = self._table.of(call.pid)
        roots = (caller.uids[3], caller.gids[3]) == (0, 0)
        if roots and self._lookup.makes_roots(call, file):
            raise LeftToKernel
        return caller, *self._lookup.find_parent(call, file)


class _Place:
    """Where a file is to be made that does not belong to root; `LeftToKernel` for any other."""

    def __init__(self, calls: NewFiles, call: Call, file: Named, flags: int | None = None) -> None:
        """*flags* are those with which the file is opened if it is there; None: it may not be."""
        self._calls, self._call, self._file, self._flags = calls, call, file, flags
        self._caller, self.directory, self.name = calls.place(call, file)
        self.owner = (0, 0)

    def __enter__(self) -> _Place:
        try:
            self._judge()
        except BaseException:
            os.close(self.directory)
            raise
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        os.close(self.directory)

    def _judge(self) -> None:
        caller, state = self._caller, os.stat(self.directory)
        inherits = state.st_mode & stat.S_ISGID
        if not self.name or (caller.uids[3], caller.gids[3], inherits) == (0, 0, 0):
            raise LeftToKernel
        uid, gid = ownership.owner_of(name_of(self.directory))
        self.owner = caller.uids[3], gid if inherits else caller.gids[3]
        try:
            there = os.lstat(self.name, dir_fd=self.directory).st_mode
        except FileNotFoundError:
            if not permits(caller, state.st_mode, uid, gid, WRITE):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
            if self.owner == (0, 0):
                raise LeftToKernel from None
            return
        if self._flags is not None and not self._flags & os.O_EXCL and not stat.S_ISFIFO(there):
            self._calls.judge(self._call, self._file, self._flags)
        raise LeftToKernel

    def give_to_child(self) -> None:
        """Record the owner of the link or pipe that was made, or remove it."""
        mtime = os.lstat(self.name, dir_fd=self.directory).st_mtime_ns
        try:
            ownership.give_child(name_of(self.directory), self.name, mtime, *self.owner)
        except OSError:  # ENOSPC: the directory has too many such records
            os.unlink(self.name, dir_fd=self.directory)
            raise


def _umask(call: Call) -> int:
    return int(status(call.caller)[b"Umask"][0], 8)
