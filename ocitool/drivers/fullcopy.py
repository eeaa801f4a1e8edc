"""Drivers whose layers are complete, so that nothing is stacked; exact copies of directories."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ocitool.drivers.directory_driver import DirectoryDriver
from ocitool.layer import ownership, xattrs
from ocitool.layer.fileio import copy_data
from ocitool.layer.unpack.whiteouts import Removal
from ocitool_runtime.spec import Mount

if TYPE_CHECKING:
    from ocitool.layer.apply_changeset import Applied
    from ocitool.oci.content import Stream


class FullCopyDriver(DirectoryDriver, ABC):
    """A snapshot begins as a copy of its parent; its changes are found by later change times."""

    @abstractmethod
    def _since(self, key: str) -> int:
        """Return the time (ctime, in nanoseconds) at which the snapshot *key* was complete."""

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        from ocitool.layer.unpack.extract import apply  # starting a container does not need it

        ownership.current().open_tree(self._root(key))
        return apply(tar, self._root(key), Removal())

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        return (Mount(type="bind", source=self._root(key), target="/"),)

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        source = self._layer(parents[-1]) if parents else self._empty()
        return (Mount(type="bind", source=source, target="/", options=("ro",)),)

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        from ocitool.layer.changes.diff import changes_since, write_changes

        ownership.current().open_tree(self._root(key))
        before = self._layer(parents[-1]) if parents else ""
        changes = changes_since(self._root(key), before, self._since(key) if parents else 0)
        return write_changes(changes, sink, clamp=clamp)

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        from ocitool.layer.changes.verify import compare

        return compare(tar, self._layer(layer), self._lower(parents)[:1], whole=True)


_FICLONE: Final = 0x40049409  # linux/fs.h, the same on x86 and arm
_NO_CLONE: Final = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS, errno.EPERM}
)


def copy_tree(source: str, target: str) -> None:
    """Copy what is in the directory *source* into the empty directory *target*."""
    _Copier().directory(source, target)


class _Copier:
    def __init__(self) -> None:
        self._links: dict[tuple[int, int], str] = {}
        self._clones = True

    def directory(self, source: str, target: str) -> None:
        with os.scandir(source) as entries:
            for entry in entries:
                state = entry.stat(follow_symlinks=False)
                self._one(entry.path, f"{target}/{entry.name}", state)
        self._attributes(source, target, os.stat(source))

    def _one(self, source: str, target: str, state: os.stat_result) -> None:
        kind = stat.S_IFMT(state.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(target, 0o700)
            self.directory(source, target)
            return
        if state.st_nlink > 1:
            first = self._links.setdefault((state.st_dev, state.st_ino), target)
            if first != target:
                os.link(first, target, follow_symlinks=False)
                return
        if kind == stat.S_IFREG:
            self._file(source, target)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(source), target)
        else:
            os.mknod(target, state.st_mode, state.st_rdev)
        self._attributes(source, target, state)

    def _file(self, source: str, target: str) -> None:
        old = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            new = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                if not self._cloned(old, new):
                    copy_data(old, new)
            finally:
                os.close(new)
        finally:
            os.close(old)

    def _cloned(self, old: int, new: int) -> bool:
        if self._clones:
            try:
                fcntl.ioctl(new, _FICLONE, old)
                return True
            except OSError as error:
                if error.errno not in _NO_CLONE:
                    raise
                self._clones = False
        return False

    def _attributes(self, source: str, target: str, state: os.stat_result) -> None:
        owners = ownership.current()
        owners.copy(source, target, state)
        xattrs.write(target, xattrs.read(source))  # while the mode allows it
        if not stat.S_ISLNK(state.st_mode):  # after chown, which clears setuid
            os.chmod(target, owners.mode(source, state))
        os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns), follow_symlinks=False)
