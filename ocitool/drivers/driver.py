"""The interface between the store and the drivers that keep unpacked layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ocitool.layer.apply_changeset import Applied
    from ocitool.oci.content import Stream
    from ocitool_runtime.spec import Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Whether a driver works here; ``reason`` says why, ``hint`` what would change it.

    ``quiet``: no warning is needed where this driver does not work, because the next one is as good
    for users who cannot have this one.
    """

    ok: bool
    reason: str = ""
    hint: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The disk usage of one layer, without its parents."""

    size: int  # bytes of its files, without directories
    inodes: int  # its root directory included


class Driver(Protocol):
    """Keeps unpacked layers on disk, and describes the mounts that stack them.

    A *layer* is a committed snapshot: it is named by its chain ID (64 hexadecimal digits) and never
    changes once `commit` has returned.  An active *snapshot* is writable, is named by a key that
    the caller chooses, and has a list of layers, ``parents``, the lowest first, which must all have
    been committed.  `begin` makes a snapshot; `apply` or a container fills it; `commit` turns it
    into a layer on top of its parents, or `discard` removes it.

    A driver never mounts.  Mounts that containers share (`Mount.shared`) are made in ``mounts`` of
    its directory, where the store unmounts what killed processes have left.  A driver locks
    nothing: the store makes one call at a time for each snapshot or layer.  What a killed process
    has left unfinished is listed by `trees` and removed by `discard`.  Every method may raise
    `DriverError` or `LayerError`; the `OSError` of a full or failing disk passes through, for the
    store to translate.

    A driver is made by calling its class with the directory it may use, which exists.  What takes
    long to remove it may rename into ``trash`` there (`ocitool.drivers.trash`).
    """

    @property
    def name(self) -> str:
        """The name, as in ``--driver NAME`` and the entry point."""

    @property
    def mapped(self) -> frozenset[str]:
        """The methods that read or write files of layers.

        Where container IDs are mapped to others, these methods run inside a user namespace, in a
        separate process; the others run in the caller.
        """

    @property
    def durable(self) -> bool:
        """Whether a layer survives a power cut once `commit` has returned.

        Otherwise the store does not use the layer after the next boot of the machine, unless the
        file system was synced after `commit`.
        """

    def probe(self) -> Support:
        """Say whether this driver works in its directory; leave nothing in it."""

    def begin(self, key: str, parents: Sequence[str]) -> None:
        """Make the snapshot *key* on *parents*, without changes of its own.

        Raises:
            DriverError: a snapshot with this key exists; it is not changed.
            LayerNotFound: one of *parents* does not exist; nothing was made.
        """

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        """Unpack a layer's tar into the snapshot *key*, and read *tar* to its end."""

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        """Return the mounts of the snapshot *key* for reading and writing, outermost first.

        After `apply` a driver may refuse this.
        """

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        """Return read-only mounts of *parents*, outermost first; without parents an empty root."""

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        """Write the changes of the snapshot *key* against *parents* to *sink*, as a layer's tar.

        *clamp* is the latest time that an entry gets, in seconds since the epoch; the files in the
        snapshot get it, too.  Returns the number of entries.  The same changes give the same bytes.
        Nothing may write to the snapshot between the last `diff` and `commit`.
        """

    def commit(self, key: str, layer: str) -> None:
        """Turn the snapshot *key* into *layer* by one rename, so that there is no partial layer.

        If the layer exists already, the snapshot is removed: a second commit does nothing.

        Raises:
            DriverError: neither the snapshot nor the layer exists.
        """

    def discard(self, key: str) -> None:
        """Remove the snapshot *key*; do nothing if it does not exist.

        If `mapped` names this method it is tried in the caller first, and after a
        `PermissionError` again in the user namespace.
        """

    def remove(self, layer: str) -> None:
        """Remove *layer*, which is no parent of anything; do nothing if it does not exist."""

    def tar(self, layer: str) -> str:
        """Return the path of the plain tar of *layer*, byte for byte; ``""`` if none is kept.

        The file may get further names (hard links), and is never written to again.
        """

    def has(self, layer: str) -> bool:
        """Say whether *layer* is committed, by a check that is cheap in a store of many layers.

        It is called for each layer that is used.
        """

    def layers(self) -> Iterator[str]:
        """Yield the names of all committed layers."""

    def trees(self) -> Iterator[str]:
        """Yield the keys of all active snapshots."""

    def usage(self, layer: str) -> Usage:
        """Measure *layer*; `LayerNotFound` if it does not exist."""

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        """Compare *layer* with the tar that it was made of, and yield a line for each difference.

        Changes nothing, and reads *tar* to its end.  What the machine may have refused to make
        (device nodes, attributes) is no difference.

        Raises:
            LayerNotFound: *layer*, or one of *parents*, does not exist.
            LayerError: *tar* is corrupt.
        """

    def close(self) -> None:
        """End processes and close descriptors of the driver; a second call does nothing."""
