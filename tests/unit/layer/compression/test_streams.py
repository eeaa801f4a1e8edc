"""Codecs: whole, in parts, cut off, corrupt, and without isal."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import subprocess
import sys
import zlib

import pytest

from ocitool.errors import LayerError
from ocitool.layer.compression.codecs import CHUNK, GZIP, NONE, ZSTD, sniff

CODECS = (NONE, GZIP, ZSTD)
PACKED = (GZIP, ZSTD)
NOISE = random.Random(7).randbytes(3_000_000)
TEXT = b"".join(b"line %d\n" % n for n in range(200_000))


@pytest.fixture(params=["isal", "zlib"])
def library(request, monkeypatch):
    """With isal, and as on a machine that has no wheel of it."""
    if request.param == "isal":
        pytest.importorskip("isal", reason="needs isal")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
        monkeypatch.setitem(sys.modules, "isal.igzip_lib", None)
    return request.param


def pack(codec, data, step=CHUNK, level=None):
    compressor = codec.compressor(level)
    pieces = [compressor.compress(data[at : at + step]) for at in range(0, len(data), step)]
    return b"".join([*pieces, compressor.flush()])


def unpack(codec, data, step=CHUNK):
    stream = codec.decompress(io.BytesIO(data) if isinstance(data, bytes) else data)
    return b"".join(iter(lambda: stream.read(step), b""))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, NOISE, bytes(5 << 20)], ids=len)
def test_what_was_packed_is_unpacked(codec, data):
    packed = pack(codec, data)
    assert unpack(codec, packed) == data
    assert codec.decompress(io.BytesIO(packed)).read() == data
    assert pack(codec, data) == packed


@pytest.mark.slow
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("codec", [GZIP, ZSTD])
@pytest.mark.parametrize("level", [1, 3, 5])
@pytest.mark.parametrize("data", [b"", TEXT[:5000], NOISE + TEXT * 3], ids=len)
def test_any_number_of_processors_gives_the_same_bytes(monkeypatch, codec, level, data):
    found = []
    for count in (1, 2, 3, 8):
        for module in ("gzip", "zstd"):
            name = f"ocitool.layer.compression.{module}.processors"
            monkeypatch.setattr(name, lambda count=count: count)
        found.append(pack(codec, data, level=level))
    assert found == [found[0]] * 4
    assert unpack(codec, found[0]) == data


@pytest.mark.slow
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("codec", "levels"), [(GZIP, 9), (ZSTD, 19)])
def test_levels(codec, levels):
    sizes = []
    for level in range(1, levels + 1):
        packed = pack(codec, TEXT[:200_000], level=level)
        assert unpack(codec, packed) == TEXT[:200_000]
        sizes.append(len(packed))
    assert len(set(sizes)) > levels // 3
    assert pack(codec, TEXT, level=codec.level) == pack(codec, TEXT)
    for level in (-1, 0, levels + 1):
        with pytest.raises(LayerError, match=f"invalid compression level {level} for {codec.name}"):
            codec.compressor(level)
    with pytest.raises(LayerError, match="invalid compression level 1 for none"):
        NONE.compressor(1)


@pytest.mark.usefixtures("library")
def test_a_gzip_is_one_member():
    """Some readers stop after the first."""
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert inflate.decompress(pack(GZIP, TEXT * 2)) == TEXT * 2
    assert inflate.eof
    assert inflate.unused_data == b""


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_reads_of_any_size_and_never_more_than_asked_for(codec):
    data = TEXT[:50_000]
    stream = codec.decompress(io.BytesIO(pack(codec, data)))
    got = b""
    assert stream.read(0) == b""
    for size in (1, 15, 16, 17, 1000, 30_000, 1 << 20, 1 << 20):
        piece = stream.read(size)
        assert len(piece) <= size
        got += piece
    assert got + stream.read() == data
    assert stream.read(5) == b""


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("codec", PACKED, ids=lambda codec: codec.name)
def test_a_source_that_comes_in_bits(codec):
    class Bits(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 11) if size >= 0 else 11)

    assert unpack(codec, Bits(pack(codec, TEXT[:100_000]))) == TEXT[:100_000]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("codec", PACKED, ids=lambda codec: codec.name)
def test_several_members_are_one_stream(codec):
    packed = pack(codec, TEXT) + pack(codec, b"") + pack(codec, NOISE) + pack(codec, b"end")
    assert unpack(codec, packed) == TEXT + NOISE + b"end"


@pytest.mark.slow
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("codec", PACKED, ids=lambda codec: codec.name)
@pytest.mark.parametrize("data", [b"", b"short", TEXT[:300_000], NOISE[:300_000]], ids=len)
def test_cut_off_anywhere_it_is_an_error(codec, data):
    packed = pack(codec, data)
    cuts = {*range(min(len(packed), 40)), *range(max(0, len(packed) - 40), len(packed))}
    for cut in sorted(cuts | {len(packed) // 3, len(packed) // 2}):
        with pytest.raises(LayerError):
            unpack(codec, packed[:cut])
        if cut:
            with pytest.raises(LayerError):
                unpack(codec, packed + packed[:cut])


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("codec", PACKED, ids=lambda codec: codec.name)
def test_corrupt_anywhere_it_is_an_error(codec):
    data = TEXT[:20_000]
    packed = pack(codec, data)
    offsets = [*range(4), *range(12, len(packed), 97), len(packed) - 1]
    for at in offsets:
        broken = bytearray(packed)
        broken[at] ^= 0x55
        with pytest.raises(LayerError):
            assert unpack(codec, bytes(broken)) != data


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("codec", PACKED, ids=lambda codec: codec.name)
@pytest.mark.parametrize("garbage", [b"x", b"garbage" * 10, b"\x1f\x8b\x08", b"\0\0x"])
def test_what_follows_and_is_no_member_is_an_error(codec, garbage):
    with pytest.raises(LayerError):
        unpack(codec, pack(codec, TEXT) + garbage)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("length", [1, 511, 262_144, 1_000_000])
def test_zeros_after_a_gzip_member_are_padding(length):
    assert unpack(GZIP, pack(GZIP, b"x") + bytes(length)) == b"x"


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_every_header_field_of_gzip_is_read():
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(TEXT) + deflate.flush()
    head = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x03\x00abc" + b"name\0" + b"comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    tail = zlib.crc32(TEXT).to_bytes(4, "little") + len(TEXT).to_bytes(4, "little")
    assert unpack(GZIP, head + body + tail) == TEXT


@pytest.mark.usefixtures("library")
def test_a_gzip_header_tells_nothing_of_the_machine():
    packed = pack(GZIP, b"x")
    assert packed[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    assert gzip.decompress(packed) == b"x"


def test_isal_and_zlib_read_each_other(monkeypatch):
    pytest.importorskip("isal", reason="needs isal")
    by_isal = pack(GZIP, TEXT)
    for name in ("isal", "isal.isal_zlib", "isal.igzip_lib"):
        monkeypatch.setitem(sys.modules, name, None)
    by_zlib = pack(GZIP, TEXT)
    assert by_zlib != by_isal
    assert unpack(GZIP, by_isal) == TEXT
    monkeypatch.undo()
    assert unpack(GZIP, by_zlib) == TEXT


@pytest.mark.parametrize(("codec", "program"), [(GZIP, "gzip"), (ZSTD, "zstd")])
def test_other_programs_read_and_write_it(codec, program):
    if shutil.which(program) is None:
        pytest.skip(f"needs the program {program}")
    done = subprocess.run([program, "-dc"], input=pack(codec, TEXT), capture_output=True)
    assert (done.returncode, done.stdout) == (0, TEXT)
    theirs = subprocess.run([program, "-c"], input=TEXT, capture_output=True, check=True).stdout
    assert unpack(codec, theirs) == TEXT


@pytest.mark.slow
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("codec", PACKED, ids=lambda codec: codec.name)
def test_a_bomb_comes_in_small_pieces(codec):
    bomb = pack(codec, bytes(64 << 20))
    assert len(bomb) < 1 << 20
    stream = codec.decompress(io.BytesIO(bomb))
    total = 0
    while piece := stream.read(CHUNK):
        assert len(piece) <= CHUNK + 16
        total += len(piece)
    assert total == 64 << 20


def test_a_window_beyond_reason_is_refused():
    # A frame header that asks for a window of 2 GiB, RFC 8878, 3.1.1.1.2.
    with pytest.raises(LayerError):
        unpack(ZSTD, b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + b"\x01\x00\x00")


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_closing_closes_the_source(codec):
    source = io.BytesIO(pack(codec, b"x"))
    codec.decompress(source).close()
    assert source.closed


def test_sniffing():
    assert [sniff(pack(codec, b"x" * 600)[:6]) for codec in CODECS] == [None, GZIP, ZSTD]
    assert sniff(b"") is None
    assert sniff(b"\x1f") is None
