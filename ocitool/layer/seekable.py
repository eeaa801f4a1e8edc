"""Blobs that can be had in parts: their tables of contents found and proved, and nothing else read.

Source: containerd's stargz-snapshotter, docs/estargz.md; containers/storage, pkg/chunked.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from ocitool.errors import DigestMismatch, LayerError, TooLarge
from ocitool.layer.entry import DEFAULT_LIMITS
from ocitool.layer.gzip import GZIP
from ocitool.layer.reader import TarReader
from ocitool.layer.toc import DIGEST_ANNOTATION, TABLE, File, parse
from ocitool.layer.zstd import ZSTD
from ocitool.oci.content import Stream
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import Descriptor

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
    """Return what a layer holds, file by file; None if its descriptor tells of no table.

    Raises:
        DigestMismatch: the table is not the one of which the manifest has the digest.
        LayerError: the blob has no such table, or a damaged one.
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
        raise LayerError("a blob that should be eStargz has no footer of it")
    if not set(digits) <= set(b"0123456789abcdef"):
        raise LayerError("the footer of an eStargz blob is damaged")
    start = int(digits, 16)
    packed = _part(fetch, start, blob.size - _GZIP_FOOTER - start)
    limits = replace(DEFAULT_LIMITS, total=_LARGEST)
    reader = TarReader(GZIP.decompress(io.BytesIO(packed)), limits)
    for entry in reader:
        if entry.path != TABLE:
            break
        table = reader.read()
        _prove(table, blob.annotations[DIGEST_ANNOTATION])
        return table
    raise LayerError("a blob that should be eStargz has no table of contents")


def _zstd_chunked(blob: Descriptor, fetch: Fetch) -> bytes:
    start, packed_size, size, kind = _position(blob.annotations, blob.size, fetch)
    if kind != 1 or size > _LARGEST:
        raise LayerError("the table of contents of a zstd:chunked blob is of no kind that is known")
    packed = _part(fetch, start, packed_size)
    _prove(packed, blob.annotations[CHECKSUM_ANNOTATION])  # of the compressed table, that is
    table = _bounded(ZSTD.decompress(io.BytesIO(packed)), size)
    if len(table) != size:
        raise LayerError("the table of contents of a zstd:chunked blob is not as long as it says")
    return table


def _position(annotations: Mapping[str, str], size: int, fetch: Fetch) -> tuple[int, ...]:
    """Return where the table is, how long it is packed and plain, and its kind."""
    if told := annotations.get(POSITION_ANNOTATION):
        numbers = told.split(":")
        if len(numbers) != 4 or not all(n.isascii() and n.isdigit() for n in numbers):
            raise LayerError(f"{told!r:.80} is not the position of a table of contents")
        return tuple(int(number) for number in numbers)
    whole = len(_FRAME) + _ZSTD_FOOTER
    footer = fetch(max(0, size - whole), whole)
    if not footer.startswith(_FRAME) or not footer.endswith(_MAGIC):
        raise LayerError("a blob that should be zstd:chunked has no footer of it")
    footer = footer[len(_FRAME) :]
    return tuple(int.from_bytes(footer[at : at + 8], "little") for at in range(0, 32, 8))


def _part(fetch: Fetch, start: int, size: int) -> bytes:
    if not 0 < size <= _LARGEST:
        raise TooLarge(f"a layer's table of contents of {size} bytes is not taken")
    data = fetch(start, size)
    if len(data) != size:
        raise LayerError("the blob ends before its table of contents does")
    return data


def _bounded(stream: Stream, size: int) -> bytes:
    """Read *size* bytes, and one more where there are more."""
    data = bytearray()
    while len(data) <= size and (piece := stream.read(size + 1 - len(data))):
        data += piece
    return bytes(data)


def _prove(data: bytes, wanted: str) -> None:
    digest = Digest.parse(wanted, "annotations")
    got = Digest.of(data, digest.algorithm)
    if got != digest:
        where = "table of contents"
        raise DigestMismatch(str(digest), str(got), size=len(data), where=where)
