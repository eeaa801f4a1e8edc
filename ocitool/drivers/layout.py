"""What drivers with one directory a layer have in common: places, names, commit and removal.

HOME/layers/<chain id>/fs      committed
HOME/layers/<chain id>         or a link to the directory of another store, which is never changed
HOME/trees/<key>/fs            writable; `commit` renames <key> to <chain id>
HOME/trash/<random>            taken out of use, to be removed
HOME/empty                     a directory with nothing in it

What a driver keeps beside fs in a tree goes when the tree is committed.
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
from ocitool.layer.beneath import remove_tree
from ocitool.layer.ownership import copy_records

FS: Final = "fs"


class Folders:
    """Places below *home*.  Made when first needed.

    *kept* are the names of what makes a committed layer, the first that which `layer` returns.
    """

    def __init__(self, home: str, kept: Sequence[str] = (FS,)) -> None:
        self.home = home
        self._kept = tuple(kept)
        self._layers = f"{home}/layers"
        self._trees = f"{home}/trees"
        self._trash = f"{home}/{trash.NAME}"

    def layer(self, name: str) -> str:
        """Return what is kept of a committed layer; `LayerNotFound` if it is not there."""
        place = f"{self._layers}/{name}/{self._kept[0]}"
        if not os.path.exists(place):
            raise LayerNotFound(f"layer {name[:12]} is not unpacked")
        return place

    def committed(self, name: str) -> str:
        """Return the directory of a layer, whether it is there or not."""
        return f"{self._layers}/{name}"

    def tree(self, key: str) -> str:
        """Return the directory of the tree *key*."""
        return f"{self._trees}/{key}"

    def make(self, key: str, parents: Sequence[str]) -> str:
        """Make the tree *key* with an empty root directory like that of *parents*."""
        top = self.new(key, parents)
        if parents:
            # The topmost root directory is the one that the stacked tree shows.
            below = self.layer(parents[-1])
            like = os.stat(below)
            os.chmod(top, stat.S_IMODE(like.st_mode))
            if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(top, like.st_uid, like.st_gid)
            xattrs.write(top, xattrs.read(below))
            copy_records(below, top)
            os.utime(top, ns=(like.st_mtime_ns, like.st_mtime_ns))
        return top

    def new(self, key: str, parents: Sequence[str]) -> str:
        """Make the tree *key* with an empty root directory, if *parents* are all there."""
        top = f"{self.place(key, parents)}/{FS}"
        os.mkdir(top, 0o755)
        os.chmod(top, 0o755)  # whatever the umask is
        return top

    def place(self, key: str, parents: Sequence[str]) -> str:
        """Make the directory of the tree *key*, without fs, if *parents* are all there."""
        for parent in parents:
            self.layer(parent)  # is there, or nothing is made
        os.makedirs(self._trees, mode=0o700, exist_ok=True)
        try:
            os.mkdir(self.tree(key), 0o700)
        except FileExistsError:
            raise DriverError(f"the tree {key!r} exists already") from None
        return self.tree(key)

    def commit(self, key: str, layer: str) -> None:
        """Rename the tree *key* to *layer*, or drop it if the layer is there."""
        os.makedirs(self._layers, mode=0o700, exist_ok=True)
        place = self.tree(key)
        try:
            for name in os.listdir(place):
                if name not in self._kept:
                    remove_tree(f"{place}/{name}")
            os.rename(place, f"{self._layers}/{layer}")
        except FileNotFoundError:
            if not os.path.isdir(f"{self._layers}/{layer}"):
                raise DriverError(f"there is no tree {key!r} to commit") from None
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self.discard(key)

    def sync(self, layer: str) -> None:
        """Make the names of a committed layer durable."""
        for place in (f"{self._layers}/{layer}", self._layers):
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def discard(self, key: str) -> None:
        """Remove the tree *key*."""
        self._remove(self.tree(key))

    def remove(self, layer: str) -> None:
        """Remove a committed layer."""
        self._remove(self.committed(layer))

    def _remove(self, place: str) -> None:
        """Take *place* out of use by one rename; `ocitool.drivers.trash` does the rest."""
        gone = f"{self._trash}/{os.urandom(8).hex()}"
        try:
            os.rename(place, gone)
        except FileNotFoundError:
            if os.path.lexists(place):  # then it is the trash that is not there yet
                os.makedirs(self._trash, mode=0o700, exist_ok=True)
                os.rename(place, gone)

    def empty(self) -> str:
        """Return a directory that stays empty."""
        place = f"{self.home}/empty"
        os.makedirs(place, mode=0o755, exist_ok=True)
        return place

    def layers(self) -> Iterator[str]:
        """Yield the names of the committed layers."""
        for name in _names(self._layers):
            place = f"{self._layers}/{name}"
            if os.path.isdir(place) or not os.path.islink(place):
                yield name

    def trees(self) -> Iterator[str]:
        """Yield the keys of the trees."""
        yield from _names(self._trees)

    def usage(self, layer: str, since: int = 0) -> Usage:
        """Add up the files of *layer*, each inode once; of a link to another store nothing.

        Only those count whose change time (ctime, in nanoseconds) is not before *since*.
        """
        if os.path.islink(f"{self._layers}/{layer}"):
            return Usage(size=0, inodes=0)
        seen: set[int] = set()
        size = inodes = 0
        todo = [self.layer(layer)]
        while todo:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    state = entry.stat(follow_symlinks=False)
                    if state.st_ino in seen:
                        continue
                    seen.add(state.st_ino)
                    if stat.S_ISDIR(state.st_mode):
                        todo.append(entry.path)
                    if state.st_ctime_ns < since:
                        continue
                    inodes += 1
                    if stat.S_ISREG(state.st_mode):
                        size += state.st_size
        return Usage(size=size, inodes=inodes + 1)


class InFolders:
    """The part of a driver that is the same wherever layers and trees are folders."""

    durable: ClassVar[bool] = False

    _folders: Folders

    def commit(self, key: str, layer: str) -> None:
        self._folders.commit(key, layer)

    def discard(self, key: str) -> None:
        self._folders.discard(key)

    def remove(self, layer: str) -> None:
        self._folders.remove(layer)

    def has(self, layer: str) -> bool:
        return os.path.isdir(f"{self._folders.committed(layer)}/{FS}")

    def layers(self) -> Iterator[str]:
        return self._folders.layers()

    def trees(self) -> Iterator[str]:
        return self._folders.trees()

    def tar(self, layer: str) -> str:
        return ""

    def usage(self, layer: str) -> Usage:
        return self._folders.usage(layer)


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
