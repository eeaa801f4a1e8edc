"""The seam between the store and the ways to keep unpacked layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ocitool.layer.changeset import Applied
    from ocitool.oci.content import Stream
    from ocitool_runtime.spec import Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Whether a driver can work here; ``reason`` says why, ``hint`` what would change it.

    ``quiet`` says that another driver is as good for those who cannot have this one: `info` tells
    of it, and no warning does.
    """

    ok: bool
    reason: str = ""
    hint: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one layer takes on disk by itself."""

    size: int  # bytes of the files that hold it, without directories
    inodes: int  # that it shows, its root directory included


class Driver(Protocol):
    """Keeps unpacked layers on disk and stacks them into trees.

    Two kinds of things have names.  A *layer* is named by its chain id (64 hexadecimal digits) and
    never changes once `commit` has returned.  A *tree* is writable, named by a key that the caller
    chooses, and stands on a list of layers, ``parents``, the lowest first, which must all have
    been committed.  `begin` makes a tree; `apply` or a sandbox fills it; `commit` freezes it into
    a layer on top of its parents, or `discard` drops it.

    A driver describes mounts and never mounts; what it shares among containers (`Mount.shared`) is
    shown in ``mounts`` of its directory, from where the store takes what killed processes left.
    It locks nothing: the store calls it for one tree or layer from one place at a time.  What was
    half done when a process died is named by `trees` and dropped by `discard`.  Every method may
    raise `DriverError` or `LayerError`; the `OSError` of a full or failing disk passes through,
    for the store to translate.

    A driver is made by calling its class with the directory it may use, which exists.  What takes
    long to remove it may rename into ``trash`` there (`ocitool.drivers.trash`).
    """

    @property
    def name(self) -> str:
        """As in ``--driver NAME`` and the entry point."""

    @property
    def mapped(self) -> frozenset[str]:
        """The methods that touch the content of layers.

        Where container ids are mapped to others they run inside a user namespace, in a process of
        their own; the others run in the caller.
        """

    @property
    def durable(self) -> bool:
        """Whether a layer survives a power cut once `commit` has returned.

        Otherwise the store does not believe it in the next boot of the machine, unless it was
        synced since.
        """

    def probe(self) -> Support:
        """Say whether this driver can work in its directory; leaves nothing behind."""

    def begin(self, key: str, parents: Sequence[str]) -> None:
        """Make the empty tree *key* on *parents*.

        Raises:
            DriverError: there is a tree of that key; it is left as it is.
            LayerNotFound: one of *parents* is not there; nothing was made.
        """

    def apply(self, key: str, parents: Sequence[str], tar: Stream) -> Applied:
        """Unpack a layer's tar into the tree *key*, and read *tar* to its end."""

    def mounts(self, key: str, parents: Sequence[str]) -> tuple[Mount, ...]:
        """Return the mounts that show the tree *key* for reading and writing, outermost first.

        After `apply` a tree may refuse to be written to.
        """

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        """Return the mounts that show *parents* read-only, outermost first; of none, nothing."""

    def diff(
        self,
        key: str,
        parents: Sequence[str],
        sink: Callable[[bytes], object],
        *,
        clamp: int | None = None,
    ) -> int:
        """Write what the tree *key* changes in *parents* to *sink*, as a layer's tar.

        *clamp* is the latest time an entry gets, in seconds since the epoch; the files in the
        tree get it, too.  Returns the number of entries.  The same changes give the same bytes.
        Nothing may write to the tree between the last `diff` and `commit`.
        """

    def commit(self, key: str, layer: str) -> None:
        """Freeze the tree *key* as *layer*: one rename, so that the layer is whole or not there.

        If the layer is there already the tree is dropped, so that a second commit does nothing.

        Raises:
            DriverError: there is neither such a tree nor such a layer.
        """

    def discard(self, key: str) -> None:
        """Drop the tree *key*; nothing happens if there is no such tree.

         Where `mapped` names the method it is tried in
        the caller first, and a `PermissionError` sends it to the user namespace.
        """

    def remove(self, layer: str) -> None:
        """Remove *layer*, on which no other layer or tree may stand; none is fine, too."""

    def tar(self, layer: str) -> str:
        """Return the file that is the plain tar of *layer*, byte for byte; ``""`` if none is kept.

        It may get further names (hard links), and is never written to again.
        """

    def has(self, layer: str) -> bool:
        """Say whether *layer* is committed and, as far as a look tells, all there.

        It is asked for each layer that is used: one look, however many layers there are.
        """

    def layers(self) -> Iterator[str]:
        """Yield the names of all committed layers."""

    def trees(self) -> Iterator[str]:
        """Yield the keys of all trees."""

    def usage(self, layer: str) -> Usage:
        """Measure *layer*; `LayerNotFound` if it is not there."""

    def check(self, layer: str, parents: Sequence[str], tar: Stream) -> Iterator[str]:
        """Compare what is kept of *layer* with the tar it was made of; a line for each fault.

        Changes nothing, and reads *tar* to its end.  *parents* are the layers below, the lowest
        first.  What the machine may refuse (device nodes, attributes) is no fault.

        Raises:
            LayerNotFound: *layer*, or one of *parents*, is not there.
            LayerError: *tar* is corrupt.
        """

    def close(self) -> None:
        """Give back processes and descriptors that the driver holds; a second call does nothing."""
