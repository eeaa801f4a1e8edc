"""Layers below the one that is being made, looked at by path, as overlayfs would show them."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ocitool.layer.entry import NO_XATTRS, Entry, decode, encode, kind_of
from ocitool.layer.erofs.node import Node, foreign_tag
from ocitool.layer.erofs.reader import ErofsImage
from ocitool.layer.xattrs import belongs


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """One image of the stack, and the name of its layer; of a merged one it does not matter."""

    name: str
    image: ErofsImage

    def tag(self, device: int) -> str:
        """Return what others know the *device* of this image by."""
        return foreign_tag(self.image.devices[device].tag, self.name)


class Seen(NamedTuple):
    """What a path is: a node, and the image that it is in; None for the tree being made."""

    node: Node
    below: Below | None


class Hidden:
    """A path that a layer removes, or that leads through what is no directory."""


HIDDEN = Hidden()


class Stack:
    """Images, the topmost first; each is verified when it is first looked into."""

    def __init__(self, images: Sequence[Below]) -> None:
        self.images = tuple(images)
        self._verified: set[int] = set()
        self._names: dict[tuple[int, int], dict[bytes, int]] = {}

    def find(self, parts: Sequence[bytes]) -> Seen | None:
        """Return what the path of *parts* is; no link is followed."""
        for at, below in enumerate(self.images):
            found = self._look(at, below.image, parts)
            if found is HIDDEN:
                return None
            if isinstance(found, Node):
                return Seen(found, below)
        return None

    def look(self, path: str) -> Entry | None:
        """Return the entry of *path*; None if there is nothing."""
        found = self.find(encode(path).split(b"/"))
        return None if found is None else entry_of(path, found.node)

    def names(self, directory: str) -> Iterator[str]:
        """Yield what is in *directory*, ``""`` for the root."""
        parts = encode(directory).split(b"/") if directory else []
        found = {name for at in range(len(self.images)) for name in self._names_at(at, parts)}
        for name in found:
            if self.find([*parts, name]) is not None:
                yield decode(name)

    def root_names(self) -> Iterator[bytes]:
        """Yield the names in the root directories of all layers."""
        for at, below in enumerate(self.images):
            self._verify(at)
            yield from self._listing(at, below.image.root)

    def _verify(self, at: int) -> None:
        if at not in self._verified:
            self.images[at].image.verify()
            self._verified.add(at)

    def _look(self, at: int, image: ErofsImage, parts: Sequence[bytes]) -> Node | Hidden | None:
        """Return what one layer says of a path; None if nothing."""
        self._verify(at)
        number = image.root
        node = image.node(number)
        hidden = False
        for part in parts:
            if not node.is_directory:
                return HIDDEN  # a file hides what a directory below it holds
            hidden = hidden or node.is_opaque
            child = self._listing(at, number).get(part)
            if child is None:
                return HIDDEN if hidden else None
            number = child
            node = image.node(number)
            if node.is_whiteout:
                return HIDDEN
        return node

    def _names_at(self, at: int, parts: Sequence[bytes]) -> Iterable[bytes]:
        """Return the names that one layer has in a directory, whiteouts as well."""
        self._verify(at)
        number = self.images[at].image.root
        for part in parts:
            child = self._listing(at, number).get(part) if self._is_directory(at, number) else None
            if child is None:
                return ()
            number = child
        return self._listing(at, number) if self._is_directory(at, number) else ()

    def _is_directory(self, at: int, number: int) -> bool:
        return self.images[at].image.node(number).is_directory

    def _listing(self, at: int, number: int) -> dict[bytes, int]:
        known = self._names.get((at, number))
        if known is None:
            known = self._names[(at, number)] = self.images[at].image.names(number)
        return known


def entry_of(path: str, node: Node) -> Entry:
    """Return *node* as the entry that a layer would have at *path*, content left out."""
    return Entry(
        path,
        kind_of(node.mode),
        stat.S_IMODE(node.mode),
        node.uid,
        node.gid,
        size=node.size,
        mtime=node.mtime,
        link=decode(node.link),
        device=node.rdev,
        xattrs=belonging(node),
    )


def belonging(node: Node) -> Mapping[str, bytes]:
    """Return the extended attributes that a layer gave *node*, none of overlayfs's."""
    return {name: node.xattrs[name] for name in node.xattrs if belongs(name)} or NO_XATTRS
