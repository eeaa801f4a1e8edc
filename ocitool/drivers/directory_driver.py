"""The base class of drivers that keep one directory a layer: paths, names, commit and removal.

HOME/layers/<chain id>/fs      committed
HOME/layers/<chain id>         or a link to the directory of an additional store, never changed
HOME/trees/<key>/fs            an active snapshot; `commit` renames <key> to <chain id>
HOME/trash/<random>            out of use, to be removed
HOME/empty                     a directory with nothing in it

What a driver keeps beside fs in a snapshot is removed when the snapshot is committed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from ocitool.drivers import trash
from ocitool.drivers.driver import Usage
from ocitool.errors import DriverError, LayerNotFound
from ocitool.layer import xattrs
from ocitool.layer.beneath import remove_tree, walk
from ocitool.layer.fileio import names_in
from ocitool.layer.ownership import copy_records

FS: Final = "fs"


class DirectoryDriver:
    """A driver with one directory a layer and one a snapshot below *home*, made when first needed.

    Its subclasses make, fill and mount snapshots.
    """

    durable: ClassVar[bool] = False
    #: The names of what a committed layer consists of; `_layer` returns the path of the first.
    _content: ClassVar[tuple[str, ...]] = (FS,)

    def __init__(self, home: str) -> None:
        self._home = home
        self._layers = f"{home}/layers"
        self._snapshots = f"{home}/trees"
        self._trash = f"{home}/{trash.NAME}"

    # -- a part of the contract of `Driver` ---------------------------------------------------

    def commit(self, key: str, layer: str) -> None:
        os.makedirs(self._layers, mode=0o700, exist_ok=True)
        snapshot = self._snapshot(key)
        try:
            for name in os.listdir(snapshot):
                if name not in self._content:
                    remove_tree(f"{snapshot}/{name}")
            os.rename(snapshot, self._committed(layer))
        except FileNotFoundError:
            if not os.path.isdir(self._committed(layer)):
                raise DriverError(f"cannot commit snapshot {key!r}: it does not exist") from None
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self.discard(key)

    def discard(self, key: str) -> None:
        self._throw_away(self._snapshot(key))

    def remove(self, layer: str) -> None:
        self._throw_away(self._committed(layer))

    def has(self, layer: str) -> bool:
        return os.path.isdir(f"{self._committed(layer)}/{FS}")

    def layers(self) -> Iterator[str]:
        for name in names_in(self._layers):
            path = self._committed(name)
            if os.path.isdir(path) or not os.path.islink(path):
                yield name

    def trees(self) -> Iterator[str]:
        yield from names_in(self._snapshots)

    def tar(self, layer: str) -> str:
        return ""

    def usage(self, layer: str) -> Usage:
        return self._measure(layer)

    def close(self) -> None:
        return None

    # -- for subclasses ------------------------------------------------------------------------

    def _layer(self, name: str) -> str:
        """Return the path of a committed layer's content; `LayerNotFound` if it is missing."""
        path = f"{self._layers}/{name}/{self._content[0]}"
        if not os.path.exists(path):
            raise LayerNotFound(f"layer {name[:12]} is not unpacked")
        return path

    def _lower(self, parents: Sequence[str]) -> tuple[str, ...]:
        """Return the paths of the content of *parents*, the topmost first."""
        return tuple(self._layer(name) for name in reversed(parents))

    def _committed(self, name: str) -> str:
        """Return the directory of a layer, whether it exists or not."""
        return f"{self._layers}/{name}"

    def _snapshot(self, key: str) -> str:
        """Return the directory of the snapshot *key*."""
        return f"{self._snapshots}/{key}"

    def _root(self, key: str) -> str:
        """Return the root directory of the snapshot *key*: for overlays the upper directory."""
        return f"{self._snapshots}/{key}/{FS}"

    def _make(self, key: str, parents: Sequence[str]) -> str:
        """Make the directory of the snapshot *key*, without fs, if *parents* are committed."""
        for parent in parents:
            self._layer(parent)
        os.makedirs(self._snapshots, mode=0o700, exist_ok=True)
        try:
            os.mkdir(self._snapshot(key), 0o700)
        except FileExistsError:
            raise DriverError(f"snapshot {key!r} exists already") from None
        return self._snapshot(key)

    def _make_root(self, key: str, parents: Sequence[str]) -> str:
        """Make the snapshot *key* with an empty root directory of mode 0755."""
        root = f"{self._make(key, parents)}/{FS}"
        os.mkdir(root, 0o755)
        os.chmod(root, 0o755)  # whatever the umask is
        return root

    def _make_root_like(self, key: str, parents: Sequence[str]) -> str:
        """Make the snapshot *key* with an empty root directory like that of its parent."""
        root = self._make_root(key, parents)
        if parents:
            # A stack of directories shows the attributes of the topmost root directory.
            parent = self._layer(parents[-1])
            like = os.stat(parent)
            os.chmod(root, stat.S_IMODE(like.st_mode))
            if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(root, like.st_uid, like.st_gid)
            xattrs.write(root, xattrs.read(parent))
            copy_records(parent, root)
            os.utime(root, ns=(like.st_mtime_ns, like.st_mtime_ns))
        return root

    def _sync(self, layer: str) -> None:
        """Make the names of a committed layer durable."""
        for path in (self._committed(layer), self._layers):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _throw_away(self, path: str) -> None:
        """Rename *path* into the trash, from where `ocitool.drivers.trash` removes it."""
        gone = f"{self._trash}/{os.urandom(8).hex()}"
        try:
            os.rename(path, gone)
        except FileNotFoundError:
            if os.path.lexists(path):  # then it is the trash that is missing
                os.makedirs(self._trash, mode=0o700, exist_ok=True)
                os.rename(path, gone)

    def _empty(self) -> str:
        """Return a directory that stays empty."""
        path = f"{self._home}/empty"
        os.makedirs(path, mode=0o755, exist_ok=True)
        return path

    def _measure(self, layer: str, since: int = 0) -> Usage:
        """Add up the files of *layer*, each inode once; 0 for a link to an additional store.

        Only files count whose change time (ctime, in nanoseconds) is not before *since*.
        """
        if os.path.islink(self._committed(layer)):
            return Usage(size=0, inodes=0)
        seen: set[int] = set()
        size = inodes = 0
        for state in walk(self._layer(layer)):
            if state.st_ino in seen:
                continue
            seen.add(state.st_ino)
            if state.st_ctime_ns < since:
                continue
            inodes += 1
            if stat.S_ISREG(state.st_mode):
                size += state.st_size
        return Usage(size=size, inodes=inodes + 1)
