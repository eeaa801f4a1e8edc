"""The lines of an index: one JSON array a member.

``[path, kind, mode, uid, gid, size, mtime, offset]``, the offset being that of the content in the
uncompressed tar.  What only some members have follows in an object: the ``link`` target, ``device``
numbers, ``xattrs`` in base64, and of a ``sparse`` file where its data is in the file, ``[[offset,
length], ...]``; of its content the tar holds that alone.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from ocitool.errors import LayerError
from ocitool.layer.entry import Entry, Kind, order
from ocitool.layer.tar.sparse import Spans

_CHUNK: Final = 1 << 12  # lines that are parsed at once
_DIRECTORY: Final = f'","{Kind.DIRECTORY}",'.encode("ascii")  # nowhere in a string: it has quotes
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_MALFORMED: Final = (ValueError, LookupError, TypeError, AttributeError)


class IndexEntry(NamedTuple):
    """An entry and the offset of its content in the uncompressed tar.

    ``sparse`` is as of a `TarReader`: None unless only these runs of data are there.
    """

    entry: Entry
    offset: int
    sparse: Spans | None = None


def line_of(entry: Entry, offset: int, sparse: Spans | None) -> bytes:
    """Return the line of a member, without its end."""
    line: list[object] = [*entry[:7], offset]
    more: dict[str, object] = {}
    if entry.link:
        more["link"] = entry.link
    if entry.device != (0, 0) and entry.kind != Kind.HARDLINK:  # of which a reader takes none
        more["device"] = entry.device
    if entry.xattrs:
        attributes = sorted(entry.xattrs.items())
        more["xattrs"] = {name: base64.b64encode(value).decode() for name, value in attributes}
    if sparse is not None:
        more["sparse"] = sparse
    return _encode([*line, more] if more else line).encode("ascii")


def entries_of(lines: Sequence[bytes]) -> Iterator[IndexEntry]:
    """Yield the members of *lines*; `LayerError` if one is corrupt."""
    try:
        for start in range(0, len(lines), _CHUNK):
            yield from _parsed(lines[start : start + _CHUNK])
    except _MALFORMED as error:
        raise corrupt(error) from error


def corrupt(reason: object) -> LayerError:
    """Return the error that says that an index is corrupt."""
    return LayerError(f"the layer's index is corrupt: {reason}")


def _parsed(lines: Iterable[bytes]) -> Iterator[IndexEntry]:
    # One array is parsed much faster than many.
    for path, kind, mode, uid, gid, size, mtime, offset, *more in json.loads(
        b"[%b]" % b",".join(lines)
    ):
        entry = Entry(path, kind, mode, uid, gid, size, mtime)
        yield _with(entry, offset, *more) if more else IndexEntry(entry, offset)


def _with(entry: Entry, offset: int, more: dict[str, Any]) -> IndexEntry:
    values = more.get("xattrs", {})
    entry = entry._replace(
        link=more.get("link", ""),
        device=tuple(more.get("device", (0, 0))),
        xattrs={name: base64.b64decode(values[name]) for name in values},
    )
    sparse = tuple(map(tuple, more["sparse"])) if "sparse" in more else None
    return IndexEntry(entry, offset, sparse)


class SortedLines:
    """Lines in the order of a tree, of which only those are parsed that are looked at.

    What is in a directory follows it, so it is a range of the lines.
    """

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def find(self, path: str) -> IndexEntry | None:
        """Return the member *path*."""
        at = bisect_left(self._lines, order(path), key=_key)
        found = next(entries_of(self._lines[at : at + 1]), None)
        return found if found is not None and found.entry.path == path else None

    def top(self) -> tuple[IndexEntry | None, range]:
        """Return the member for the root directory, and the lines of all others."""
        root = self.find("")
        return root, range(0 if root is None else 1, len(self._lines))

    def inside(self, lines: range) -> Iterator[tuple[IndexEntry, range]]:
        """Yield the members right in a directory, and the lines of what is in each of them.

        *lines* are those of all that is in it.
        """
        ranges = []
        at = lines.start
        while at < lines.stop:
            end = self._end(at, lines.stop) if _DIRECTORY in self._lines[at] else at + 1
            ranges.append(range(at + 1, end))
            at = end
        members = entries_of([self._lines[each.start - 1] for each in ranges])
        return zip(members, ranges, strict=True)

    def _end(self, at: int, last: int) -> int:
        """Return where what is in the directory at line *at* ends; most hold little."""
        beyond = _key(self._lines[at]) + b"\1"
        step = 1
        while at + step < last and _key(self._lines[at + step]) < beyond:
            step *= 2
        low, high = at + step // 2, min(at + step, last)
        return bisect_left(self._lines, beyond, low + 1, high, key=_key)


def _key(line: bytes) -> bytes:
    try:
        path = line[2 : line.index(b'",', 2)]
        # Most names are plain; only those with escapes need the parser.
        return order(json.loads(line)[0]) if b"\\" in path else path.replace(b"/", b"\0")
    except _MALFORMED as error:
        raise corrupt(error) from error
