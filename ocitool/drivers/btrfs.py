"""Each layer as a subvolume of btrfs, which begins as a btrfs snapshot of its parent.

A btrfs snapshot takes the same time whatever its size, and shares all blocks with its source.  It
keeps change times, so files with a later change time are those that were changed in it.  A
committed layer is read-only for everybody.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import ClassVar

from ocitool.drivers import btrfs_subvolumes
from ocitool.drivers.directory_driver import FS
from ocitool.drivers.driver import Support, Usage
from ocitool.drivers.fullcopy import FullCopyDriver
from ocitool.drivers.probes import probe_directory


class BtrfsDriver(FullCopyDriver):
    """One subvolume a layer, and one a snapshot."""

    name: ClassVar[str] = "btrfs"
    mapped: ClassVar[frozenset[str]] = frozenset(
        {"begin", "apply", "diff", "commit", "discard", "remove", "usage", "check"}
    )

    def probe(self) -> Support:
        home = self._home
        if not btrfs_subvolumes.on_btrfs(home):
            return Support(
                ok=False,
                reason="the store is not on btrfs",
                hint="use --root with a directory on btrfs, or use another --driver",
                quiet=True,
            )
        with probe_directory(home) as directory:
            try:
                return _try(directory)
            except OSError as error:
                reason = f"btrfs subvolumes do not work here: {error.strerror}"
                return Support(ok=False, reason=reason)

    def begin(self, key: str, parents: Sequence[str]) -> None:
        top = f"{self._make(key, parents)}/{FS}"
        if parents:
            btrfs_subvolumes.snapshot(self._layer(parents[-1]), top)
        else:
            btrfs_subvolumes.create(top)
            os.chmod(top, 0o755)  # whatever the umask is

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        btrfs_subvolumes.flatten(self._root(key))  # a container may have made subvolumes within
        return super().diff(key, parents, sink, clamp=clamp)

    def commit(self, key: str, layer: str) -> None:
        top = self._root(key)
        if os.path.isdir(self._committed(layer)):
            self.discard(key)
            return
        if os.path.isdir(top):
            btrfs_subvolumes.flatten(top)
            btrfs_subvolumes.set_read_only(top, True)
        super().commit(key, layer)

    def discard(self, key: str) -> None:
        _destroy(self._snapshot(key))
        super().discard(key)

    def remove(self, layer: str) -> None:
        _destroy(self._committed(layer))
        super().remove(layer)

    def usage(self, layer: str) -> Usage:
        """Measure the files that were changed since the btrfs snapshot, each in full."""
        since = btrfs_subvolumes.made_at(self._layer(layer))
        return self._measure(layer, since)

    def _since(self, key: str) -> int:
        return btrfs_subvolumes.made_at(self._root(key))


def _try(directory: str) -> Support:
    one, two = f"{directory}/one", f"{directory}/two"
    btrfs_subvolumes.create(one)
    os.mkdir(f"{one}/directory")
    btrfs_subvolumes.set_read_only(one, True)
    btrfs_subvolumes.snapshot(one, two)
    btrfs_subvolumes.made_at(two)
    os.rmdir(f"{two}/directory")
    destroyed = [btrfs_subvolumes.destroy(each) for each in (two, one)]
    if all(destroyed):
        return Support(ok=True, reason="btrfs snapshots work here")
    return Support(
        ok=True,
        reason="btrfs snapshots work here, but this user can only remove them file by file",
        hint="the mount option user_subvol_rm_allowed lets users remove their own at once",
    )


def _destroy(directory: str) -> None:
    """Destroy the subvolume of a snapshot or layer, or prepare it for removal file by file."""
    top = f"{directory}/{FS}"
    with contextlib.suppress(FileNotFoundError):  # another process removes it, too
        if btrfs_subvolumes.is_subvolume(top):
            btrfs_subvolumes.destroy(top)
