"""Tables of contents of layers of which single files can be fetched: eStargz and zstd:chunked.

Both have the same table, as JSON; they differ in where it is found and in what verifies it.  A
blob with a table is read in parts: the table is found and verified, and nothing else is read.

Source: containerd's stargz-snapshotter, docs/estargz.md; containers/storage, pkg/chunked.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from ocitool.errors import DigestMismatch, LayerError, TooLarge
from ocitool.layer.compression.gzip import GZIP
from ocitool.layer.compression.zstd import ZSTD
from ocitool.layer.entry import DEFAULT_LIMITS, NO_XATTRS, Entry, Kind, clean_path, encode
from ocitool.layer.tar.reader import TarReader
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest
from ocitool.oci.json_text import parse_json
from ocitool.oci.manifest import Descriptor

TABLE: Final = "stargz.index.json"
DIGEST_ANNOTATION: Final = "containerd.io/snapshot/stargz/toc.digest"
CHUNK_SIZE: Final = 4 << 20  # bytes of content in one gzip member at most
_VERSION: Final = 1
_SECOND: Final = 1_000_000_000  # nanoseconds
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999, the last that RFC 3339 has
_TYPES: Final = {
    Kind.FILE: "reg",
    Kind.DIRECTORY: "dir",
    Kind.SYMLINK: "symlink",
    Kind.HARDLINK: "hardlink",
    Kind.CHAR: "char",
    Kind.BLOCK: "block",
    Kind.FIFO: "fifo",
}
_KINDS: Final = {name: kind for kind, name in _TYPES.items()}
_CHUNK: Final = "chunk"
INSTEAD: Final = "use gzip or zstd, which can hold any layer"

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
    """Write a table of files whose names `require_text` has accepted."""
    entries = [item for file in files for item in _items(file)]
    text = json.dumps(
        {"version": _VERSION, "entries": entries}, separators=(",", ":"), ensure_ascii=False
    )
    return text.encode("utf-8")


def require_text(entry: Entry) -> None:
    """Raise `LayerError` if a table cannot hold *entry*: a name in it is not valid UTF-8.

    A table is JSON, which has no form for other bytes (RFC 8259, section 8.1); the
    stargz-snapshotter writes U+FFFD for them, and the file then has another name.
    """
    for what, name in (
        ("name", entry.path),
        ("link target", entry.link),
        *(("extended attribute", name) for name in entry.xattrs),
    ):
        if not _is_text(name):
            of = "" if what == "name" else f" of {_quoted(entry.path)}"
            raise LayerError(
                f"the {what} {_quoted(name)}{of} is not valid UTF-8, and the table of contents of "
                "an eStargz layer is JSON, which cannot hold it",
                hint=INSTEAD,
            )


def _is_text(name: str) -> bool:
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _quoted(name: str) -> str:
    return '"' + encode(name).decode("utf-8", "backslashreplace") + '"'


def _items(file: File) -> Iterator[dict[str, Any]]:
    entry = file.entry
    name = (entry.path or ".") + ("/" if entry.kind == Kind.DIRECTORY else "")
    item: dict[str, Any] = {"name": name, "type": _TYPES[entry.kind], "mode": entry.mode}
    item |= {"uid": entry.uid, "gid": entry.gid}
    seconds = entry.mtime // _SECOND
    if 0 < seconds <= _LAST_SECOND:
        item["modtime"] = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if entry.link:
        item["linkName"] = entry.link
    if entry.kind in (Kind.CHAR, Kind.BLOCK):
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
    """Read a verified table; `LayerError` if it does not follow its format."""
    try:
        table = parse_json(data)
    except ValueError as error:
        raise LayerError(f"a layer's table of contents is corrupt: {error}") from error
    if not isinstance(table, dict) or table.get("version") != _VERSION:
        raise LayerError("unsupported version of a layer's table of contents")
    files: list[File] = []
    chunks: list[Chunk] = []  # of the last file
    for item in _get(table, "entries", list, []):
        if not isinstance(item, dict):
            raise LayerError("an entry of a layer's table of contents is not an object")
        if item.get("type") != _CHUNK:
            if files:
                files[-1] = _whole(files[-1], chunks)
            file = _file(item)
            files.append(file)
            chunks = [_chunk(item, file.entry)] if file.entry.size else []
        elif files and clean_path(_get(item, "name", str, "")) == files[-1].entry.path:
            chunks.append(_chunk(item, files[-1].entry))
        else:
            raise LayerError("a chunk does not follow its file", where=str(item.get("name")))
    if files:
        files[-1] = _whole(files[-1], chunks)
    return tuple(files)


def _file(item: Mapping[str, Any]) -> File:
    path = clean_path(_get(item, "name", str, ""))
    kind = _KINDS.get(_get(item, "type", str, ""))
    if kind is None:
        raise LayerError("unsupported type of entry", where=path)
    values = _get(item, "xattrs", dict, {})
    entry = Entry(
        path,
        kind,
        _get(item, "mode", int, 0) & 0o7777,
        _get(item, "uid", int, 0),
        _get(item, "gid", int, 0),
        _get(item, "size", int, 0) if kind == Kind.FILE else 0,
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
            raise LayerError("the chunks of a file overlap or leave gaps", where=file.entry.path)
        at += chunk.size
    if at != file.entry.size:
        raise LayerError("the chunks of a file do not add up to its size", where=file.entry.path)
    return file._replace(chunks=tuple(chunks))


def _get(item: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    value = item.get(name)
    if value is None:
        return default
    negative = isinstance(value, int) and value < 0
    if not isinstance(value, kind) or isinstance(value, bool) or negative:
        raise LayerError(f"invalid value of {name}: {value!r:.40}", where="table of contents")
    return value


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except binascii.Error:
        raise LayerError("an attribute is not valid base64", where="table of contents") from None


def _time(text: str) -> int:
    if not text:
        return 0
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise LayerError(f"{text!r:.40} is not a time", where="table of contents") from None
    if parsed.tzinfo is None:
        raise LayerError(f"{text!r:.40} has no time zone", where="table of contents")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    passed = parsed - epoch
    return (passed.days * 86_400 + passed.seconds) * _SECOND + passed.microseconds * 1000


CHECKSUM_ANNOTATION: Final = "io.github.containers.zstd-chunked.manifest-checksum"
POSITION_ANNOTATION: Final = "io.github.containers.zstd-chunked.manifest-position"
_LARGEST: Final = 128 << 20  # bytes of a table, packed or not
_GZIP_FOOTER: Final = 51  # bytes
_ZSTD_FOOTER: Final = 64  # bytes, in a frame that readers pass over
_FRAME: Final = b"\x50\x2a\x4d\x18" + _ZSTD_FOOTER.to_bytes(4, "little")
_MAGIC: Final = b"GNUlInUx"

#: Returns the bytes of a blob from an offset on, so many; fewer where the blob ends.
Fetch = Callable[[int, int], bytes]


def contents(blob: Descriptor, fetch: Fetch) -> tuple[File, ...] | None:
    """Return what a layer holds, file by file; None if its descriptor names no table.

    Raises:
        DigestMismatch: the table is not the one of which the manifest has the digest.
        LayerError: the blob has no such table, or a corrupt one.
    """
    if DIGEST_ANNOTATION in blob.annotations:
        return parse(_estargz(blob, fetch))
    if CHECKSUM_ANNOTATION in blob.annotations:
        return parse(_zstd_chunked(blob, fetch))
    return None


def _estargz(blob: Descriptor, fetch: Fetch) -> bytes:
    footer = fetch(max(0, blob.size - _GZIP_FOOTER), _GZIP_FOOTER)
    digits = footer[16:32]
    if footer[:4] != b"\x1f\x8b\x08\x04" or footer[12:14] != b"SG" or footer[32:38] != b"STARGZ":
        raise LayerError("an eStargz blob has no eStargz footer")
    if not set(digits) <= set(b"0123456789abcdef"):
        raise LayerError("the footer of an eStargz blob is corrupt")
    start = int(digits, 16)
    packed = _part(fetch, start, blob.size - _GZIP_FOOTER - start)
    limits = replace(DEFAULT_LIMITS, total=_LARGEST)
    reader = TarReader(GZIP.decompress(io.BytesIO(packed)), limits)
    for entry in reader:
        if entry.path != TABLE:
            break
        table = reader.read()
        _verify(table, blob.annotations[DIGEST_ANNOTATION])
        return table
    raise LayerError("an eStargz blob has no table of contents")


def _zstd_chunked(blob: Descriptor, fetch: Fetch) -> bytes:
    start, packed_size, size, kind = _position(blob.annotations, blob.size, fetch)
    if kind != 1 or size > _LARGEST:
        raise LayerError("unsupported type of table of contents in a zstd:chunked blob")
    packed = _part(fetch, start, packed_size)
    _verify(packed, blob.annotations[CHECKSUM_ANNOTATION])  # of the compressed table, that is
    table = _bounded(ZSTD.decompress(io.BytesIO(packed)), size)
    if len(table) != size:
        raise LayerError(
            "the table of contents of a zstd:chunked blob differs from its size in the footer"
        )
    return table


def _position(annotations: Mapping[str, str], size: int, fetch: Fetch) -> tuple[int, ...]:
    """Return where the table is, how long it is packed and plain, and its kind."""
    if position := annotations.get(POSITION_ANNOTATION):
        numbers = position.split(":")
        if len(numbers) != 4 or not all(n.isascii() and n.isdigit() for n in numbers):
            raise LayerError(f"invalid position of a table of contents: {position!r:.80}")
        return tuple(int(number) for number in numbers)
    whole = len(_FRAME) + _ZSTD_FOOTER
    footer = fetch(max(0, size - whole), whole)
    if not footer.startswith(_FRAME) or not footer.endswith(_MAGIC):
        raise LayerError("a zstd:chunked blob has no zstd:chunked footer")
    footer = footer[len(_FRAME) :]
    return tuple(int.from_bytes(footer[at : at + 8], "little") for at in range(0, 32, 8))


def _part(fetch: Fetch, start: int, size: int) -> bytes:
    if not 0 < size <= _LARGEST:
        raise TooLarge(f"a layer's table of contents is too large: {size} bytes")
    data = fetch(start, size)
    if len(data) != size:
        raise LayerError("the blob ends within its table of contents")
    return data


def _bounded(stream: Stream, size: int) -> bytes:
    """Read *size* bytes, and one more where there are more."""
    data = bytearray()
    while len(data) <= size and (piece := stream.read(size + 1 - len(data))):
        data += piece
    return bytes(data)


def _verify(data: bytes, wanted: str) -> None:
    digest = Digest.parse(wanted, "annotations")
    got = Digest.of(data, digest.algorithm)
    if got != digest:
        where = "table of contents"
        raise DigestMismatch(str(digest), str(got), size=len(data), where=where)
