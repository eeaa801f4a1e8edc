"""Overlays served by the program fuse-overlayfs: for kernels that give a user no overlay.

Layers are those of `ocitool.drivers.overlay`.  The program copies up whole files and never
redirects, so that an upper directory is complete by itself, as the kernel's is; only its marks
are others, and `tidy` makes them the kernel's.

Source: fuse-overlayfs(1), and what version 1.10 was seen to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ocitool.drivers import probing
from ocitool.drivers.driver import Support
from ocitool.drivers.folders import FS, Folders, InFolders
from ocitool.drivers.overlay import OverlayDriver
from ocitool_runtime.sandbox.rootfs.fuse import TYPE

if TYPE_CHECKING:
    from ocitool.layer.unpack.extract import Applied
    from ocitool.oci.content import Stream
    from ocitool_runtime.spec import Mount


class FuseOverlayDriver(InFolders):
    """The layers and trees of `OverlayDriver`, mounted by a program."""

    name: ClassVar[str] = TYPE
    mapped: ClassVar[frozenset[str]] = OverlayDriver.mapped

    def __init__(self, home: str) -> None:
        self._folders = Folders(home)
        self._overlay = OverlayDriver(home)

    def probe(self) -> Support:
        return probing.try_fuse(self._folders.home)

    def begin(self, key: str, parents: Sequence[str]) -> None:
        self._overlay.begin(key, parents)

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        return self._overlay.apply(key, parents, tar)

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        return tuple(map(_served, self._overlay.mounts(key, parents)))

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        return tuple(map(_served, self._overlay.view(parents)))

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        from ocitool.drivers.fuse_marks import tidy

        lower = [self._folders.layer(name) for name in reversed(parents)]
        tidy(f"{self._folders.tree(key)}/{FS}", lower)
        return self._overlay.diff(key, parents, sink, clamp=clamp)

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        return self._overlay.check(layer, parents, tar)


def _served(mount: Mount) -> Mount:
    return replace(mount, type=TYPE, options=()) if mount.type == "overlay" else mount
