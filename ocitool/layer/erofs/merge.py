"""One tree of several layers: what overlayfs would show of them, as a single image shows it.

A path is then looked up once and not in every layer.

Source: the kernel's Documentation/filesystems/overlayfs.rst, "Directories", "whiteouts".
"""

from __future__ import annotations

from collections.abc import Sequence

from ocitool.layer.entry import NO_XATTRS
from ocitool.layer.erofs.lower_layers import Below
from ocitool.layer.erofs.node import OPAQUE, Device, Node


def merge(images: Sequence[Below]) -> tuple[Node, tuple[Device, ...]]:
    """Return the tree of *images*, the topmost first, and the devices with its content."""
    devices: dict[str, Device] = {}
    root: Node | None = None
    for below in reversed(images):
        numbers = []
        for number, device in enumerate(below.image.devices):
            tag = below.tag(number)
            devices.setdefault(tag, Device(tag=tag, size=device.size))
            numbers.append(list(devices).index(tag))
        tree = below.image.verify().tree(numbers)
        if root is None:
            _clean(tree)
            root = tree
        else:
            _cover(root, tree)
    assert root is not None, "there is an image at least"
    return root, tuple(devices.values())


def _cover(low: Node, high: Node) -> None:
    """Put the directory *high* over the directory *low*."""
    low.mode, low.uid, low.gid, low.mtime = high.mode, high.uid, high.gid, high.mtime
    low.xattrs = high.xattrs
    for name, node in high.children.items():
        if node.is_whiteout:
            low.children.pop(name, None)
            continue
        below = low.children.get(name)
        if node.is_directory and not node.is_opaque and below is not None and below.is_directory:
            _cover(below, node)
            continue
        if node.is_directory:
            _clean(node)
        low.children[name] = node


def _clean(directory: Node) -> None:
    """Remove whiteouts and opaque xattrs: below *directory* there is nothing to hide."""
    if directory.is_opaque:
        kept = {name: value for name, value in directory.xattrs.items() if name != OPAQUE}
        directory.xattrs = kept or NO_XATTRS
    for name, node in list(directory.children.items()):
        if node.is_whiteout:
            del directory.children[name]
        elif node.is_directory:
            _clean(node)
