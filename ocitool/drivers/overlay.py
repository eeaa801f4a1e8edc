"""Layers as directories, stacked by the kernel's overlayfs.

For root whiteouts and opaque directories are marked by trusted.* attributes; in a user namespace
the kernel uses user.* attributes and needs the option ``userxattr``.  ``metacopy`` and
``redirect_dir`` stay off, so that an upper directory is complete by itself and its changes can be
read without the lower directories.

Source: the kernel's Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from ocitool.drivers import probes
from ocitool.drivers.directory_driver import DirectoryDriver
from ocitool.drivers.driver import Support
from ocitool.errors import DriverError
from ocitool.layer.unpack.whiteouts import OverlayWhiteouts
from ocitool_runtime.spec import Mount

if TYPE_CHECKING:
    from ocitool.layer.apply_changeset import Applied
    from ocitool.oci.content import Stream

_MOST_LAYERS: Final = 500  # OVL_MAX_STACK


class OverlayDriver(DirectoryDriver):
    """One directory a layer; a snapshot is an upper directory on those of its parents."""

    name: ClassVar[str] = "overlay"
    mapped: ClassVar[frozenset[str]] = frozenset(
        {"apply", "diff", "discard", "remove", "usage", "check"}
    )

    def __init__(self, home: str) -> None:
        super().__init__(home)
        # In a user namespace this process is root, too, but may not set trusted.* attributes.
        self._trusted = os.geteuid() == 0 and probes.initial_user_namespace()
        self._whiteouts = OverlayWhiteouts("trusted" if self._trusted else "user")
        self._options = ("index=off",) if self._trusted else ("index=off", "userxattr")

    def probe(self) -> Support:
        return probes.try_overlay(self._home, self._options)

    def begin(self, key: str, parents: Sequence[str]) -> None:
        if len(parents) >= _MOST_LAYERS:
            raise DriverError(
                f"the image has {len(parents)} layers, and overlayfs stacks at most {_MOST_LAYERS}",
                hint="use --driver vfs, or flatten the image",
            )
        self._make_root_like(key, parents)
        os.mkdir(f"{self._snapshot(key)}/work", 0o700)

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        from ocitool.layer.unpack.extract import apply  # starting a container does not need it

        return apply(tar, self._root(key), self._whiteouts, lower=self._lower(parents))

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        return (
            Mount(
                type="overlay",
                target="/",
                # After a crash snapshots are discarded, so nothing needs to be synced.
                options=(*self._options, "volatile"),
                lower=self._lower(parents) or (self._empty(),),
                upper=self._root(key),
                work=f"{self._snapshot(key)}/work",
            ),
        )

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        lower = self._lower(parents)
        if len(lower) < 2:  # without an upper directory the kernel needs two lower ones
            lower = (*lower, self._empty())
        if len(lower) < 2:
            return (Mount(type="bind", source=lower[0], target="/", options=("ro",)),)
        return (Mount(type="overlay", target="/", options=self._options, lower=lower),)

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        from ocitool.layer.changes.before import Stacked
        from ocitool.layer.changes.diff import changes_in_upper, write_changes

        before = Stacked(self._lower(parents))
        changes = changes_in_upper(self._root(key), self._whiteouts.opaque_xattr, before)
        return write_changes(changes, sink, clamp=clamp)

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        from ocitool.layer.changes.verify import compare

        return compare(tar, self._layer(layer), self._lower(parents), whole=False)
