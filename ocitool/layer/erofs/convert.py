"""From a layer's tar to the image that shows it."""

from __future__ import annotations

from dataclasses import dataclass

from ocitool.layer.apply_changeset import Applied, Changeset
from ocitool.layer.entry import DEFAULT_LIMITS, Limits
from ocitool.layer.erofs.lower_layers import Stack
from ocitool.layer.erofs.target import ErofsTarget, Holes
from ocitool.layer.erofs.writer import write
from ocitool.layer.memory_tree import without_collecting
from ocitool.layer.tar.reader import TarReader
from ocitool.oci.content import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """An image, and what was taken into it."""

    image: bytes
    applied: Applied


def index(tar: Stream, below: Stack, holes: Holes, *, limits: Limits = DEFAULT_LIMITS) -> Indexed:
    """Read *tar* to its end and return the image that shows it as a layer on *below*.

    The same tar on the same layers gives the same image, and the same *holes*.

    Raises:
        LayerError: the archive is corrupt, hostile, or cannot be represented.
    """
    reader = TarReader(tar, limits)
    target = ErofsTarget(below, reader, holes)
    changes = Changeset(target)
    with without_collecting():
        for entry in reader:
            changes.add(entry)
        image = write(target.root, target.devices(reader.drain()))
    return Indexed(image=image, applied=changes.applied())
