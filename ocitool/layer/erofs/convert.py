"""From a layer's tar to the image that shows it."""

from __future__ import annotations

import gc
from dataclasses import dataclass

from ocitool.layer.changeset import Applied, Changeset
from ocitool.layer.entry import DEFAULT_LIMITS, Limits
from ocitool.layer.erofs.lower import Stack
from ocitool.layer.erofs.target import ErofsTarget, Holes
from ocitool.layer.erofs.writer import write
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
        LayerError: the archive is damaged, hostile, or cannot be represented.
    """
    counted = _Counted(tar)
    reader = TarReader(counted, limits)
    target = ErofsTarget(below, reader, holes)
    changes = Changeset(target)
    collecting = gc.isenabled()
    gc.disable()  # a tree of 50,000 nodes is nothing to be looked through again and again
    try:
        for entry in reader:
            changes.add(entry)
        reader.drain()
        image = write(target.root, target.devices(counted.size))
    finally:
        if collecting:
            gc.enable()
    return Indexed(image=image, applied=changes.applied())


class _Counted:
    """A stream that counts its bytes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        return data

    def close(self) -> None:
        self._stream.close()
