"""The tree that a layer is unpacked onto: its directories, and which paths the layer made.

A member names its directory as the layers below show it.  What is missing is made, and links are
followed as every engine does (Debian's ``/var/run`` is one), but never out of the tree.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from typing import Final

from ocitool.layer import ownership
from ocitool.layer.beneath import Root, remove_tree
from ocitool.layer.entry import split
from ocitool.layer.unpack.lower import covers, find, inherit
from ocitool.layer.unpack.symlinks import follow, leads_to_directory
from ocitool.layer.whiteouts import Whiteouts

_DEFAULT_ACL: Final = "system.posix_acl_default"


class Places:
    """Knows the directories of the tree *root*, which is at *tree* and lies on *lower*.

    ``ours`` are the paths that the layer has made so far, with the directories that they are in.
    """

    def __init__(self, tree: str, root: Root, whiteouts: Whiteouts, lower: Sequence[str]) -> None:
        self._tree = tree
        self._root = root
        self._whiteouts = whiteouts
        self._lower = tuple(lower)
        self._stack = (tree, *lower)  # the topmost first
        self.ours: set[str] = set()
        # Of directories that were met: what they get when everything is in them.
        self._times: dict[str, int] = {}
        self._defaults: dict[str, bytes] = {}
        self._meet("", root.fd, os.fstat(root.fd).st_mtime_ns)

    @property
    def stack(self) -> Sequence[str]:
        """The tree and those below it, the topmost first."""
        return self._stack

    def enter(self, path: str) -> tuple[str, int]:
        """Return the directory *path* by its path without links and a descriptor, made if need be.

        The descriptor is good until the next call.
        """
        try:
            fd = self._root.directory(path)
        except (FileNotFoundError, NotADirectoryError):
            path = self._resolve(path)
            fd = self._root.directory(path)
        if path not in self._times:  # it was there before: adding to it must not touch its time
            self._meet(path, fd, os.fstat(fd).st_mtime_ns)
        return path, fd

    def shown(self, path: str) -> bool:
        """Say whether the tree, with what lies below it, has the directory *path*."""
        return leads_to_directory(path, self._look, _target, _is_directory, self.ours)

    def claim(self, path: str) -> None:
        """Note that the layer has *path*, and with it the directories that it is in."""
        self.ours.add(path)
        parent = split(path)[0]
        while parent and parent not in self.ours:
            self.ours.add(parent)
            parent = split(parent)[0]

    def keep(self, path: str, fd: int, mtime: int) -> None:
        """Remember what the directory *path*, which is *fd*, gets when everything is in it."""
        self._meet(path, fd, mtime)

    def make_way(self, fd: int, name: str, path: str) -> bool:
        """Remove what *name* is now; True if what is below the layer must stay hidden."""
        if self._whiteouts.uncover(fd, name):
            return True
        was_directory = stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode)
        remove_tree(name, dir_fd=fd)
        if not was_directory:
            # It hid what is below, which a directory in its place must not show again.
            hid = path in self.ours and covers(self._lower, self._tree, path)
            self.ours.discard(path)
            return hid
        self.ours.discard(path)
        self._root.forget(path)
        below = path + "/"
        self.ours -= {known for known in self.ours if known.startswith(below)}
        for known in [key for key in self._times if key == path or key.startswith(below)]:
            del self._times[known]
            self._defaults.pop(known, None)
        return False

    def hide(self, parent: str, name: str) -> None:
        """Hide what the layers below have at *name* in the directory *parent*."""
        parent, fd = self.enter(parent)
        path = f"{parent}/{name}" if parent else name
        self._whiteout(fd, name, path)

    def hide_all(self, path: str) -> None:
        """Hide what the layers below have in the directory *path*."""
        path, fd = self.enter(path)
        if path:
            self.claim(path)
            self._whiteouts.opaque(fd, path, self.ours)
            self._root.forget(path)
        else:  # overlayfs does not look for its mark on the top itself
            for name in {name for tree in self._stack for name in os.listdir(tree)}:
                self._whiteout(fd, name, name)

    def _whiteout(self, fd: int, name: str, path: str) -> None:
        below = covers(self._lower, self._tree, path)
        self._whiteouts.whiteout(fd, name, path, self.ours, below=below)
        self._root.forget(path)

    def finish(self) -> None:
        """Set the times and default ACLs of all directories that were touched."""
        for path, mtime in self._times.items():
            try:
                fd = self._root.directory(path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # whited out since
            if path in self._defaults:
                os.setxattr(fd, _DEFAULT_ACL, self._defaults[path])
            os.utime(fd, ns=(mtime, mtime))

    def _meet(self, path: str, fd: int, mtime: int) -> None:
        """Remember a directory's time, and put its default ACL aside.

        A layer says all of a file by itself: nothing may come from the directory that it is in.
        """
        self._times[path] = mtime
        self._defaults.pop(path, None)
        with contextlib.suppress(OSError):  # it has none, or there are none here
            self._defaults[path] = os.getxattr(fd, _DEFAULT_ACL)
            os.removexattr(fd, _DEFAULT_ACL)

    # -- links, and what is missing ---------------------------------------------------------

    def _resolve(self, path: str) -> str:
        return follow(path, self._look, _target, self._ensure, self.ours)

    def _look(self, path: str) -> tuple[str, os.stat_result] | None:
        return find(self._stack, path)

    def _ensure(self, path: str, found: tuple[str, os.stat_result] | None) -> None:
        """See to it that *path*, which is *found* (no link), is a directory of the tree itself."""
        try:
            self._root.directory(path)
            return
        except FileNotFoundError:
            pass
        except NotADirectoryError:
            if path in self.ours:
                raise
        parent, name = split(path)
        fd = self.enter(parent)[1]
        hidden = False
        try:
            os.mkdir(name, 0o755, dir_fd=fd)
        except FileExistsError:  # whited out earlier in this layer, or a file of one below
            hidden = self.make_way(fd, name, path)
            os.mkdir(name, 0o755, dir_fd=fd)
        below = self._root.directory(path)
        # Neither the umask nor a parent's setgid bit has a say in what an image looks like.
        ownership.here().give(below, os.geteuid(), os.getegid())
        os.fchmod(below, 0o755)
        os.utime(below, ns=(0, 0))  # no layer says its time, and now would be another each time
        if hidden:
            self._whiteouts.opaque(below, path, self.ours)
        else:
            inherit(found, below)
        self._meet(path, below, os.fstat(below).st_mtime_ns)


def _target(found: tuple[str, os.stat_result]) -> str:
    place, state = found
    return os.readlink(place) if stat.S_ISLNK(state.st_mode) else ""


def _is_directory(found: tuple[str, os.stat_result]) -> bool:
    return stat.S_ISDIR(found[1].st_mode)
