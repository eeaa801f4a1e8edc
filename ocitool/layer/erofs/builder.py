"""A layer's members folded into a tree, as overlayfs wants a layer: the tar is never unpacked.

What `ocitool.layer.unpack.extract` does on a file system this does in memory, rule by rule.

Source: OCI image-spec v1.1, layer.md, "Applying Changesets"; the kernel's overlayfs.rst.
"""

from __future__ import annotations

import stat
from typing import Final

from ocitool.errors import LayerError
from ocitool.layer import entry as kinds
from ocitool.layer import xattrs
from ocitool.layer.entry import AUFS, NO_WHITEOUTS, OPAQUE, WHITEOUT, Entry, encode, split
from ocitool.layer.erofs import format
from ocitool.layer.erofs.lower import Stack
from ocitool.layer.erofs.node import HOLES, Device, Node, directory
from ocitool.layer.erofs.target import Paths, without_marks

_MODES: Final = {
    kinds.FILE: stat.S_IFREG,
    kinds.DIRECTORY: stat.S_IFDIR,
    kinds.SYMLINK: stat.S_IFLNK,
    kinds.CHAR: stat.S_IFCHR,
    kinds.BLOCK: stat.S_IFBLK,
    kinds.FIFO: stat.S_IFIFO,
}
_LONGEST_NAME: Final = 255  # bytes of an attribute's name, XATTR_NAME_MAX


class Fold:
    """Takes a layer's members in their order; ``root`` is the tree that they make on *below*.

    ``notes`` counts what an image cannot hold and was left out.
    """

    def __init__(self, below: Stack) -> None:
        top = below.find(())
        self.root = top.node if top else directory()
        self.root.xattrs = without_marks(self.root.xattrs)
        self._paths = Paths(self.root, below)
        self._tags: dict[str, int] = {"": 0}  # of the devices; the layer's own tar is the first
        self._sizes: dict[str, int] = {}
        self.notes: dict[str, int] = {}
        self.entries = 0
        self.size = 0  # bytes of content

    def devices(self, size: int, holes: int = 0) -> tuple[Device, ...]:
        """Return the devices that have the content.

        They are a tar of *size* bytes, a file of *holes* bytes if it was ever named, and such
        files of the layers below.
        """
        sizes = {**self._sizes, "": size, HOLES: holes}
        return tuple(Device(tag=tag, size=sizes[tag]) for tag in self._tags)

    def add(self, member: Entry, offset: int, device: str = "") -> None:
        """Take the next member; its content is at *offset* of the tar, or of another *device*."""
        self.entries += 1
        self.size += member.size
        parent, name = split(member.path)
        if name.startswith(WHITEOUT):
            self._whiteout(member, parent, name)
        elif not parent.startswith(AUFS) and f"/{AUFS}" not in parent:
            self._member(member, parent, name, offset, device)

    def _whiteout(self, member: Entry, parent: str, name: str) -> None:
        if name == OPAQUE:
            self._paths.hide_all(parent)
        elif name in NO_WHITEOUTS:
            raise LayerError("a whiteout without a name", where=member.path)
        elif not name.startswith(AUFS) and self._paths.shown(parent):
            self._paths.hide(parent, name.removeprefix(WHITEOUT))

    def _member(self, member: Entry, parent: str, name: str, offset: int, device: str) -> None:
        if not name:
            self._set(self.root, member)
            return
        parent, folder = self._paths.enter(parent)
        path = f"{parent}/{name}" if parent else name
        key = encode(name)
        if member.kind == kinds.DIRECTORY:
            self._directory(folder, key, path, member)
        elif member.kind == kinds.HARDLINK:
            self._hard_link(folder, key, path, member)
        else:
            if member.kind == kinds.CHAR and member.device == (0, 0):
                # It would read as a whiteout; only `.wh.` names are whiteouts in a layer.
                raise LayerError("a character device 0:0 is not allowed", where=path)
            node = Node(
                member.mode | _MODES[member.kind],
                member.uid,
                member.gid,
                member.mtime,
                size=member.size,
                device=self._tags.setdefault(device, len(self._tags)) if device else 0,
                offset=offset,
                rdev=member.device,
            )
            if member.link:
                node.link = encode(member.link)
            if member.xattrs:
                node.xattrs = self._kept(member)
            self._paths.put(folder, key, path, node)
        self._paths.claim(path)

    def _directory(self, folder: Node, name: bytes, path: str, member: Entry) -> None:
        node = folder.children.get(name)
        if node is None or not node.is_directory:
            hidden = self._paths.put(folder, name, path, new := directory())
            node = new
            if hidden:
                node.make_opaque()
        self._set(node, member)

    def _set(self, node: Node, member: Entry) -> None:
        node.mode = member.mode | stat.S_IFDIR
        node.uid, node.gid, node.mtime = member.uid, member.gid, member.mtime
        hides = node.is_opaque
        # A layer's directory has its own attributes, none of those before.
        node.xattrs = self._kept(member) if member.xattrs else kinds.NO_XATTRS
        if hides:
            node.make_opaque()

    def _kept(self, member: Entry) -> dict[str, bytes]:
        """Return the attributes that an image can hold; notes the others."""
        kept = {}
        for name, value in member.xattrs.items():
            if not xattrs.belongs(name):
                continue
            if name.endswith(".") or len(encode(name)) > _LONGEST_NAME:
                raise LayerError(f"there can be no attribute {name[:40]!r}", where=member.path)
            if format.split_xattr(name) is None:
                text = f"the attribute {name} was left out: the file system does not take it"
                self.notes[text] = self.notes.get(text, 0) + 1
                continue
            kept[name] = value
        return kept

    def _hard_link(self, folder: Node, name: bytes, path: str, member: Entry) -> None:
        there, target = split(member.link)
        there, source = self._paths.enter(there)
        link = f"{there}/{target}" if there else target
        if link == path:
            raise LayerError("a hard link to itself", where=path)
        node = source.children.get(encode(target)) or self._bring_up(source, target, link)
        inside = link.startswith(f"{path}/")  # what it would take the place of
        if node is None or inside or node.is_directory or node.is_whiteout:
            raise LayerError(
                f"a hard link to {member.link!r}, which is no file of this layer or those below",
                where=path,
            )
        self._paths.put(folder, name, path, node)

    def _bring_up(self, folder: Node, name: str, path: str) -> Node | None:
        """Give this layer the file *path* of those below, so that it can have another name."""
        found = self._paths.find(path)
        if (
            found is None
            or found.below is None
            or stat.S_IFMT(found.node.mode) not in (stat.S_IFREG, stat.S_IFLNK)
        ):
            return None
        node = found.node
        if node.size:
            tag = found.below.tag(node.device)
            self._sizes[tag] = found.below.image.devices[node.device].size
            node.device = self._tags.setdefault(tag, len(self._tags))
        folder.children[encode(name)] = node
        return node
