"""Sparse members: files with holes, of which a tar holds the data alone and a map of it.

Read in all four forms there are: GNU's own, and the versions 0.0, 0.1 and 1.0 in PAX records.

Source: GNU tar manual, "Storing Sparse Files"; star's own form is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from ocitool.errors import LayerError, TooLarge, UnsupportedEntry
from ocitool.layer.codec import CHUNK
from ocitool.layer.tar import pax

#: The runs of data in a file: offset and length of each in bytes, by rising offset, none empty.
#: In the tar they stand one right after the other.
Spans = tuple[tuple[int, int], ...]

_PREFIX: Final = "GNU.sparse."
_GNU: Final = b"ustar  \0"
_ROOM: Final = 24  # bytes of one run in a header: offset and length
_LONGEST: Final = 20  # digits
_ZEROS: Final = bytes(CHUNK)


class Sparse(NamedTuple):
    """What a sparse file is: its size in bytes, holes included, and where its data is."""

    size: int
    spans: Spans


def name(records: Mapping[str, bytes]) -> bytes | None:
    """Return the name that *records* have for the file; that of the header is made up then."""
    return records.get(_PREFIX + "name")


def is_declared(records: Mapping[str, bytes]) -> bool:
    """Say whether the extended header of a member makes it a sparse one."""
    return any(key.startswith(_PREFIX) for key in records)


def of_header(header: bytes, block: Callable[[], bytes], most: int) -> Sparse:
    """Read GNU's own form, which goes on in blocks after the header; *block* reads the next.

    *most* is how many runs it may have, here and in `of_records`.
    """
    if header[257:265] != _GNU:
        raise UnsupportedEntry("this format of sparse members is not supported")
    numbers, goes_on = _fields(header, 386, 4)
    while goes_on:
        more, goes_on = _fields(block(), 0, 21)
        if not more:
            raise LayerError("the map of a sparse file has an empty part")
        numbers += more
        _bound(len(numbers) // 2, most)
    return _sparse(pax.number(header[483:495], "size"), numbers)


def of_records(records: Mapping[str, bytes], block: Callable[[], bytes], most: int) -> Sparse:
    """Read the forms that PAX records declare.

    The map of version 1.0 stands before the data; *block* reads the next block of the content.
    """
    version = records.get(_PREFIX + "major", b"0"), records.get(_PREFIX + "minor", b"0")
    size = records.get(_PREFIX + "realsize") or records.get(_PREFIX + "size")
    if size is None:
        raise LayerError("the sparse file has no size")
    if version == (b"1", b"0"):
        numbers = _listed(block, most)
    elif version in ((b"0", b"0"), (b"0", b"1")):
        numbers = _mapped(records, most)
    else:
        shown = b".".join(version).decode("ascii", "replace")[:40]
        raise UnsupportedEntry(f"version {shown} of sparse members is not supported")
    return _sparse(pax.decimal(size, "sparse size"), numbers)


def _fields(block: bytes, at: int, count: int) -> tuple[list[int], bool]:
    """Return the numbers in a header's room for *count* runs, and whether there are more."""
    numbers: list[int] = []
    end = at + count * _ROOM
    for place in range(at, end, _ROOM):
        if not block[place + 12]:  # the length is not set: unused
            break
        numbers.append(pax.number(block[place : place + 12], "sparse map"))
        numbers.append(pax.number(block[place + 12 : place + _ROOM], "sparse map"))
    return numbers, block[end] != 0


def _mapped(records: Mapping[str, bytes], most: int) -> list[int]:
    text = records.get(pax.SPARSE_MAP)
    if text is None:
        if records.get(_PREFIX + "numblocks") != b"0":
            raise LayerError("the sparse file has no map")
        return []
    _bound(text.count(b",") // 2, most)
    return [pax.decimal(part, "sparse map") for part in text.split(b",")]


def _listed(block: Callable[[], bytes], most: int) -> list[int]:
    """Read version 1.0's map: the count of runs and then their numbers, one a line."""
    numbers: list[int] = []
    wanted = 1
    rest = b""
    while True:
        *lines, rest = (rest + block()).split(b"\n")
        for line in lines:
            if len(numbers) == wanted:
                break  # zeros that fill the block up
            numbers.append(pax.decimal(line, "sparse map"))
            if len(numbers) == 1:
                _bound(numbers[0], most)
                wanted = 1 + 2 * numbers[0]
        if len(numbers) == wanted:
            return numbers[1:]
        if len(rest) > _LONGEST:
            raise LayerError("the map of a sparse file is corrupt")


def _bound(runs: int, most: int) -> None:
    if runs > most:
        raise TooLarge(f"a sparse file has more than {most} runs of data")


def _sparse(size: int, numbers: Sequence[int]) -> Sparse:
    """Put the *numbers* of a map together: the runs rise, and none goes beyond *size*."""
    spans = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    rises = all(at + length <= after for (at, length), (after, _) in pairwise(spans))
    if len(numbers) % 2 or not rises or (spans and sum(spans[-1]) > size):
        raise LayerError("the map of a sparse file is corrupt")
    return Sparse(size, tuple(span for span in spans if span[1]))


class Filler:
    """The whole content of a sparse file; *read* gives its data, in pieces of at most so much."""

    def __init__(self, sparse: Sparse, read: Callable[[int], bytes]) -> None:
        self._size = sparse.size
        self._spans = iter((*sparse.spans, (sparse.size, 0)))
        self._read_data = read
        self._at = 0
        self._start, self._left = next(self._spans)  # the run that is next, or being read

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes, ``b""`` at the end; holes are zeros."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if not self._left and self._at == self._start and self._at < self._size:
            self._start, self._left = next(self._spans)
        if self._at < self._start:
            data = _ZEROS[: min(size, self._start - self._at)]
        else:
            data = self._read_data(min(size, self._left)) if self._left else b""
            self._left -= len(data)
            self._start += len(data)
        self._at += len(data)
        return data
