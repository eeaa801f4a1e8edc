"""Tables of contents of layers of which single files can be fetched: eStargz and zstd:chunked.

Both have the same table, as JSON; they differ in where it is found and in what proves it.

Source: containerd's stargz-snapshotter, docs/estargz.md; containers/storage, pkg/chunked.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from ocitool.errors import LayerError
from ocitool.layer import entry as kinds
from ocitool.layer.entry import NO_XATTRS, Entry, clean_path

TABLE: Final = "stargz.index.json"
DIGEST_ANNOTATION: Final = "containerd.io/snapshot/stargz/toc.digest"
CHUNK_SIZE: Final = 4 << 20  # bytes of content in one gzip member at most
_VERSION: Final = 1
_SECOND: Final = 1_000_000_000  # nanoseconds
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999, the last that RFC 3339 has
_TYPES: Final = {
    kinds.FILE: "reg",
    kinds.DIRECTORY: "dir",
    kinds.SYMLINK: "symlink",
    kinds.HARDLINK: "hardlink",
    kinds.CHAR: "char",
    kinds.BLOCK: "block",
    kinds.FIFO: "fifo",
}
_KINDS: Final = {name: kind for kind, name in _TYPES.items()}
_CHUNK: Final = "chunk"

T = TypeVar("T")


class Chunk(NamedTuple):
    """A part of a file: where it stands compressed in the blob, and where in the file.

    ``digest`` is that of its *size* plain bytes.  A hole of zeros stands nowhere; its offset is 0.
    """

    offset: int  # bytes, in the blob
    at: int  # bytes, in the file
    size: int  # bytes, plain
    digest: str
    hole: bool = False


class File(NamedTuple):
    """One member of a layer, of whatever kind; ``digest`` is that of a file's whole content."""

    entry: Entry
    digest: str = ""
    chunks: tuple[Chunk, ...] = ()


def dump(files: Iterable[File]) -> bytes:
    """Write a table; `LayerError` for names that JSON cannot hold."""
    entries = [item for file in files for item in _items(file)]
    text = json.dumps(
        {"version": _VERSION, "entries": entries}, separators=(",", ":"), ensure_ascii=False
    )
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        place = text[max(0, error.start - 20) : error.end]
        raise LayerError(
            "a name is not UTF-8, which its table must be", where=ascii(place)
        ) from None


def _items(file: File) -> Iterator[dict[str, Any]]:
    entry = file.entry
    name = (entry.path or ".") + ("/" if entry.kind == kinds.DIRECTORY else "")
    item: dict[str, Any] = {"name": name, "type": _TYPES[entry.kind], "mode": entry.mode}
    item |= {"uid": entry.uid, "gid": entry.gid}
    seconds = entry.mtime // _SECOND
    if 0 < seconds <= _LAST_SECOND:
        item["modtime"] = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if entry.link:
        item["linkName"] = entry.link
    if entry.kind in (kinds.CHAR, kinds.BLOCK):
        item["devMajor"], item["devMinor"] = entry.device
    if entry.xattrs:
        values = sorted(entry.xattrs.items())
        item["xattrs"] = {key: base64.b64encode(value).decode() for key, value in values}
    if entry.size:
        item |= {"size": entry.size, "digest": file.digest}
    for number, chunk in enumerate(file.chunks):
        if number:
            item = {"name": name, "type": _CHUNK, "chunkOffset": chunk.at}
        item |= {"offset": chunk.offset, "chunkDigest": chunk.digest}
        if number + 1 < len(file.chunks):  # of the last it follows from the file's size
            item["chunkSize"] = chunk.size
        yield item
    if not file.chunks:
        yield item


def parse(data: bytes) -> tuple[File, ...]:
    """Read a table that was proved; `LayerError` if it does not follow its format."""
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LayerError(f"a layer's table of contents is damaged: {error}") from error
    if not isinstance(table, dict) or table.get("version") != _VERSION:
        raise LayerError("a layer's table of contents is of no version that is known")
    files: list[File] = []
    chunks: list[Chunk] = []  # of the last file
    for item in _get(table, "entries", list, []):
        if not isinstance(item, dict):
            raise LayerError("an entry of a layer's table of contents is no object")
        if item.get("type") != _CHUNK:
            if files:
                files[-1] = _whole(files[-1], chunks)
            file = _file(item)
            files.append(file)
            chunks = [_chunk(item, file.entry)] if file.entry.size else []
        elif files and clean_path(_get(item, "name", str, "")) == files[-1].entry.path:
            chunks.append(_chunk(item, files[-1].entry))
        else:
            raise LayerError("a part of a file stands without it", where=str(item.get("name")))
    if files:
        files[-1] = _whole(files[-1], chunks)
    return tuple(files)


def _file(item: Mapping[str, Any]) -> File:
    path = clean_path(_get(item, "name", str, ""))
    kind = _KINDS.get(_get(item, "type", str, ""))
    if kind is None:
        raise LayerError("is of no type that is known", where=path)
    values = _get(item, "xattrs", dict, {})
    entry = Entry(
        path,
        kind,
        _get(item, "mode", int, 0) & 0o7777,
        _get(item, "uid", int, 0),
        _get(item, "gid", int, 0),
        _get(item, "size", int, 0) if kind == kinds.FILE else 0,
        _time(_get(item, "modtime", str, "")),
        _get(item, "linkName", str, ""),
        (_get(item, "devMajor", int, 0), _get(item, "devMinor", int, 0)),
        {name: _bytes(value) for name, value in values.items()} or NO_XATTRS,
    )
    return File(entry, _get(item, "digest", str, "") if entry.size else "")


def _chunk(item: Mapping[str, Any], entry: Entry) -> Chunk:
    at = _get(item, "chunkOffset", int, 0)
    return Chunk(
        _get(item, "offset", int, 0),
        at,
        _get(item, "chunkSize", int, 0) or entry.size - at,
        # zstd:chunked gives a file in one piece no digest of the piece.
        _get(item, "chunkDigest", str, "") or _get(item, "digest", str, ""),
        _get(item, "chunkType", str, "") == "zeros",
    )


def _whole(file: File, chunks: Sequence[Chunk]) -> File:
    """Return *file* with its *chunks*, which must follow each other and make up all of it."""
    at = 0
    for chunk in chunks:
        if chunk.at != at or chunk.size <= 0 or not (chunk.digest or chunk.hole):
            raise LayerError("its parts do not fit together", where=file.entry.path)
        at += chunk.size
    if at != file.entry.size:
        raise LayerError("its parts do not make it up", where=file.entry.path)
    return file._replace(chunks=tuple(chunks))


def _get(item: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    value = item.get(name)
    if value is None:
        return default
    negative = isinstance(value, int) and value < 0
    if not isinstance(value, kind) or isinstance(value, bool) or negative:
        raise LayerError(f"{name} is not what it must be: {value!r:.40}", where="table of contents")
    return value


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except binascii.Error:
        raise LayerError("an attribute is not base64", where="table of contents") from None


def _time(text: str) -> int:
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise LayerError(f"{text!r:.40} is not a time", where="table of contents") from None
    if moment.tzinfo is None:
        raise LayerError(f"{text!r:.40} has no time zone", where="table of contents")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    passed = moment - epoch
    return (passed.days * 86_400 + passed.seconds) * _SECOND + passed.microseconds * 1000
