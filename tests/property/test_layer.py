"""Whatever the bytes: readers raise our errors only, and what is written is read again."""

from __future__ import annotations

import io
from contextlib import suppress
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import LayerError
from ocitool.layer.compression.codecs import GZIP, ZSTD
from ocitool.layer.entry import (
    Entry,
    Kind,
    Limits,
    clean_path,
    decode,
)
from ocitool.layer.index import index as indexes
from ocitool.layer.index.index import IndexWriter
from ocitool.layer.index.merged import ImageTree
from ocitool.layer.tar.header import Headers
from ocitool.layer.tar.pax import dump, parse
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.tar.writer import TarWriter
from tests.fixtures.examples import examples
from tests.unit.layer.holes import FORMS, sparse, whole
from tests.unit.layer.tars import members, tar

NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=[]), min_size=1, max_size=60
).filter(lambda name: name not in (".", ".."))
NAMES = NAMES.map(lambda name: name.encode("utf-8", "surrogatepass")[:200]).map(decode)
NAMES = NAMES.filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join)
TIMES = st.integers(-(10**12) + 1, 10**12 - 1)
IDS = st.integers(0, (1 << 32) - 2)
XATTRS = st.dictionaries(
    st.text("abc.é \n", min_size=1, max_size=9).map("user.".__add__), st.binary(max_size=50)
)


@st.composite
def entries(draw: st.DrawFn) -> tuple[Entry, bytes]:
    kind = draw(st.sampled_from(sorted(vars(Kind)[k] for k in KINDS)))
    content = draw(st.binary(max_size=1500)) if kind == Kind.FILE else b""
    target = {Kind.HARDLINK: PATHS, Kind.SYMLINK: PATHS | NAMES.map("/../".__add__)}.get(kind)
    device = st.tuples(st.integers(0, 0xFFF), st.integers(0, 0xFFFFF))
    entry = Entry(
        draw(PATHS | st.just("")) if kind == Kind.DIRECTORY else draw(PATHS),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(IDS),
        draw(IDS),
        len(content),
        draw(TIMES) * 10**9,
        draw(target) if target is not None else "",
        draw(device) if kind in (Kind.CHAR, Kind.BLOCK) else (0, 0),
        draw(XATTRS),
    )
    return entry, content


KINDS = ("FILE", "DIRECTORY", "SYMLINK", "HARDLINK", "CHAR", "BLOCK", "FIFO")


@given(st.lists(entries(), max_size=5))
def test_what_is_written_is_read_again(many: list[tuple[Entry, bytes]]) -> None:
    data = tar(*(one if one[1] else one[0] for one in many))
    assert members(data) == many
    assert tar(*(one if one[1] else one[0] for one in many)) == data
    assert len(data) % 512 == 0


@given(st.lists(entries(), max_size=5))
def test_an_index_holds_what_the_tar_does(many: list[tuple[Entry, bytes]]) -> None:
    data = tar(*(one if one[1] else one[0] for one in many))
    raw = indexes.index_of(io.BytesIO(data))
    placed = indexes.parse(raw).entries()
    assert [each.entry for each in placed] == [entry for entry, _ in many]
    for each, (_, content) in zip(placed, many, strict=True):
        assert data[each.offset : each.offset + len(content)] == content
    by_hand = IndexWriter()
    for each in placed:
        by_hand.add(*each)
    assert by_hand.dump() == raw


@given(st.lists(st.tuples(st.text("abc.é ", min_size=1), st.binary(max_size=1100)), max_size=4))
def test_records_read_back(records: list[tuple[str, bytes]]) -> None:
    assert parse(dump(records)) == dict(records)


LIMITS = Limits(entries=50, total=1 << 20, pax=4096)


class Counted(io.BytesIO):
    """A stream that is never asked for much at once."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 < size <= 1 << 20
        return super().read(size)


def read_all(data: bytes) -> None:
    """Read every member of *data* with small limits; our errors only."""
    reader = TarReader(Counted(data), LIMITS)
    with suppress(LayerError):
        for entry in reader:
            assert clean_path(entry.path) == entry.path
            assert ".." not in entry.path.split("/")
            assert entry.size <= LIMITS.total
            content = reader.read()
            assert len(content) == entry.size
        reader.drain()


@given(st.binary(max_size=3000))
def test_any_bytes(data: bytes) -> None:
    read_all(data)


@st.composite
def with_holes(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """One sparse member in any form, and its content."""
    gaps = draw(st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=900)), max_size=30))
    runs, at = [], 0
    for gap, data in gaps:
        runs.append((at + gap, data))
        at += gap + len(data)
    size = at + draw(st.integers(0, 3000))
    return sparse(draw(st.sampled_from(FORMS)), size, runs), whole(size, runs)


@given(with_holes(), with_holes())
def test_holes_are_filled(one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> None:
    data = one[0] + other[0] + bytes(1024)
    assert [content for _, content in members(data)] == [one[1], other[1]]
    reader = TarReader(io.BytesIO(data))
    for entry, (_, content) in zip(reader, (one, other), strict=True):
        by_runs = bytearray(entry.size)
        for at, piece in reader.runs():
            by_runs[at : at + len(piece)] = piece
        assert bytes(by_runs) == content


@st.composite
def corrupt(draw: st.DrawFn) -> bytes:
    data = bytearray(tar(*(one if one[1] else one[0] for one in draw(st.lists(entries())))))
    if draw(st.booleans()):
        data[:0] = draw(with_holes())[0]
    fix = draw(st.booleans())
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1))
        # Where numbers and types stand more than anywhere else.
        at = draw(st.sampled_from([at, at // 512 * 512 + draw(st.integers(100, 160))]))
        if at < len(data):
            data[at] = draw(st.integers(0, 255) | st.sampled_from(b"\0xgLKS125 7\x80\xff"))
        block = at // 512 * 512
        if fix and block + 512 <= len(data):
            data[block + 148 : block + 156] = b" " * 8
            data[block + 148 : block + 156] = b"%06o\0 " % sum(data[block : block + 512])
    cut = draw(st.none() | st.integers(0, len(data)))
    return bytes(data[:cut])


def read_entries(data: bytes, *, fast: bool) -> list[object]:
    """What a reader says of *data*, its error at last."""
    reader = TarReader(io.BytesIO(data), LIMITS)
    said: list[object] = []
    with patch.object(Headers, "plain", Headers.plain if fast else lambda *_: None):
        try:
            said.extend((entry, reader.offset) for entry in reader)
        except LayerError as error:
            said.append((type(error), str(error)))
    return said


@examples(100)
@given(corrupt())
def test_the_fast_path_reads_headers_as_the_other_does(data: bytes) -> None:
    twice = data[:-1024] + data  # what was seen before is read by the fast path
    assert read_entries(twice, fast=True) == read_entries(twice, fast=False)


@examples(150)
@given(corrupt())
def test_corrupt_tars(data: bytes) -> None:
    read_all(data)
    with suppress(LayerError):
        list(ImageTree([indexes.parse(indexes.index_of(io.BytesIO(data)))]).walk(""))


@given(st.binary(max_size=300), st.sampled_from([GZIP, ZSTD]), st.data())
def test_corrupt_streams(plain: bytes, codec: object, data: st.DataObject) -> None:
    assert codec in (GZIP, ZSTD)
    chosen = GZIP if codec is GZIP else ZSTD
    compressor = chosen.compressor()
    packed = bytearray(compressor.compress(plain) + compressor.flush())
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.none() | st.integers(0, len(packed)))
    stream = chosen.decompress(io.BytesIO(bytes(packed[:cut])))
    with suppress(LayerError):
        while piece := stream.read(1 << 16):
            assert len(piece) <= 1 << 17


@given(corrupt(), st.binary(max_size=200), st.booleans(), st.data())
def test_corrupt_indexes(tar: bytes, lines: bytes, is_tree: bool, data: st.DataObject) -> None:
    index = bytearray(b'{"version":2,"tree":%b}\n%b\n' % (b"true" if is_tree else b"false", lines))
    with suppress(LayerError):
        index = bytearray(indexes.index_of(io.BytesIO(tar)))
    for _ in range(data.draw(st.integers(0, 3))):
        index[data.draw(st.integers(0, len(index) - 1))] = data.draw(st.integers(0, 255))
    with suppress(LayerError):
        list(ImageTree([indexes.parse(bytes(index))]).walk(""))


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_contents_in_any_pieces(pieces: list[bytes]) -> None:
    out = bytearray()
    writer = TarWriter(out.extend)
    writer.add(Entry("f", Kind.FILE, size=sum(map(len, pieces))))
    for piece in pieces:
        writer.content(piece)
    writer.close()
    assert members(bytes(out))[0][1] == b"".join(pieces)
