"""The directories of a layer's tree by their paths, and which paths the layer itself made.

Links of the layers below are followed as every engine does (Debian's ``/var/run`` is one), but
never out of the tree.
"""

from __future__ import annotations

from collections.abc import Mapping

from ocitool.errors import LayerError
from ocitool.layer.entry import NO_XATTRS, decode, encode, split
from ocitool.layer.erofs.lower import Seen, Stack
from ocitool.layer.erofs.node import Node, directory, whiteout
from ocitool.layer.unpack.symlinks import follow, leads_to_directory
from ocitool.layer.xattrs import belongs


class Paths:
    """Knows the directories of the tree *root*, which lies on *below*."""

    def __init__(self, root: Node, below: Stack) -> None:
        self._root = root
        self._below = below
        self._directories: dict[str, Node] = {"": root}
        self._ours: set[str] = set()

    def enter(self, path: str) -> tuple[str, Node]:
        """Return the directory *path* by its path without links, and its node, made if need be."""
        node = self._directories.get(path)
        if node is not None:
            return path, node
        done = follow(path, self.find, _target, self._ensure, self._ours)
        return done, self._directories[done]

    def find(self, path: str) -> Seen | None:
        """Return what *path*, whose directories are no links, is: in this tree, then below."""
        node = self._root
        hidden = False
        parts = encode(path).split(b"/")
        for part in parts:
            if not node.is_directory:
                return None
            hidden = hidden or node.is_opaque
            child = node.children.get(part)
            if child is None:
                return None if hidden else self._below.find(parts)
            if child.is_whiteout:
                return None
            node = child
        return Seen(node, None)

    def shown(self, path: str) -> bool:
        """Say whether the tree, with what lies below it, has the directory *path*."""
        return leads_to_directory(path, self.find, _target, _is_directory, self._ours)

    def claim(self, path: str) -> None:
        """Note that the layer has *path*, and with it the directories that it is in."""
        while path and path not in self._ours:
            self._ours.add(path)
            path = split(path)[0]

    def put(self, folder: Node, name: bytes, path: str, node: Node) -> bool:
        """Make *name* in *folder* be *node*; True if what is below the layer must stay hidden."""
        before = folder.children.get(name)
        if before is not None and before.is_directory:
            self._forget(path)
        was_ours = path in self._ours
        self._ours.discard(path)
        folder.children[name] = node
        if node.is_directory:
            self._directories[path] = node
        if before is None or before.is_directory:
            return False
        # This layer hid what is below, which a directory in its place must not show again.
        return before.is_whiteout or (was_ours and self._covers(path))

    def hide(self, parent: str, name: str) -> None:
        """Hide what the layers below have at *name* in the directory *parent*."""
        parent, folder = self.enter(parent)
        path = f"{parent}/{name}" if parent else name
        self._hide(folder, encode(name), path)

    def hide_all(self, path: str) -> None:
        """Hide what the layers below have in the directory *path*."""
        path, folder = self.enter(path)
        if path:
            self.claim(path)
            folder.make_opaque()
            self._keep_ours(folder, path)
        else:  # overlayfs does not look for its mark on the top itself
            for name in {*self._below.root_names(), *folder.children}:
                self._hide(folder, name, decode(name))

    def _hide(self, folder: Node, name: bytes, path: str) -> None:
        node = folder.children.get(name)
        if node is None or path not in self._ours:
            if node is not None and node.is_directory:
                self._forget(path)
            if self._covers(path):
                folder.children[name] = whiteout()
            else:  # the kernel lists a mark that stands where no directories are merged
                folder.children.pop(name, None)
        elif node.is_directory:  # a file hides what is below by itself; a directory would merge
            node.make_opaque()
            self._keep_ours(node, path)

    def _covers(self, path: str) -> bool:
        """Say whether the layers below have something at *path* that this one could hide."""
        node = self._root
        parts = encode(path).split(b"/")
        for part in parts[:-1]:
            node = node.children[part]
            if node.is_opaque:
                return False
        return self._below.find(parts) is not None

    def _keep_ours(self, folder: Node, path: str) -> None:
        for name, node in list(folder.children.items()):
            child = f"{path}/{decode(name)}"
            if child not in self._ours:
                self._forget(child)
                del folder.children[name]
            elif node.is_directory:
                self._keep_ours(node, child)

    def _forget(self, path: str) -> None:
        below = path + "/"
        self._directories.pop(path, None)
        for known in [key for key in self._directories if key.startswith(below)]:
            del self._directories[known]
        self._ours = {key for key in self._ours if not key.startswith(below)}

    def _ensure(self, path: str, found: Seen | None) -> None:
        """See to it that *path*, which is *found* (no link), is a directory of this tree."""
        if path in self._directories:
            return
        parent, name = split(path)
        folder = self._directories[parent]
        before = folder.children.get(encode(name))
        if before is not None and not before.is_directory and path in self._ours:
            raise LayerError("cannot be unpacked: Not a directory", where=path)
        node = directory()
        if before is not None and before.is_whiteout:
            node.make_opaque()
        elif found is not None and found.node.is_directory:
            node = found.node.copy()
            node.xattrs = without_marks(node.xattrs)
        self.put(folder, encode(name), path, node)


def without_marks(values: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return the attributes that a layer gave."""
    return {name: value for name, value in values.items() if belongs(name)} or NO_XATTRS


def _is_directory(found: Seen) -> bool:
    return found.node.is_directory


def _target(found: Seen) -> str:
    return decode(found.node.link) if found.node.is_link else ""
