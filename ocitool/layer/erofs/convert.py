"""From a layer's tar to the image that shows it."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Protocol

from ocitool.layer.entry import DEFAULT_LIMITS, Limits
from ocitool.layer.erofs.builder import Fold
from ocitool.layer.erofs.lower import Stack
from ocitool.layer.erofs.node import HOLES
from ocitool.layer.erofs.writer import write
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.unpack.extract import Applied
from ocitool.oci.content import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """An image, and what was taken into it."""

    image: bytes
    applied: Applied


class Holes(Protocol):
    """Takes the content of files with holes, which no tar holds as it is."""

    size: int  # bytes that were taken, whole blocks

    def take(self, reader: TarReader, size: int) -> int:
        """Keep the content of the member that *reader* is at; returns where it begins."""


def index(tar: Stream, below: Stack, holes: Holes, *, limits: Limits = DEFAULT_LIMITS) -> Indexed:
    """Read *tar* to its end and return the image that shows it as a layer on *below*.

    The same tar on the same layers gives the same image, and the same *holes*.

    Raises:
        LayerError: the archive is damaged, hostile, or cannot be represented.
    """
    counted = _Counted(tar)
    reader = TarReader(counted, limits)
    fold = Fold(below)
    collecting = gc.isenabled()
    gc.disable()  # a tree of 50,000 nodes is nothing to be looked through again and again
    try:
        for member in reader:
            if reader.sparse is None:
                fold.add(member, reader.offset)
            else:
                fold.add(member, holes.take(reader, member.size), HOLES)
        reader.drain()
        image = write(fold.root, fold.devices(counted.size, holes.size))
    finally:
        if collecting:
            gc.enable()
    notes = tuple(f"{note} ({count} entries)" for note, count in fold.notes.items())
    return Indexed(image=image, applied=Applied(entries=fold.entries, size=fold.size, notes=notes))


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
