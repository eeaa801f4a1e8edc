"""Compressed input: several streams, what is cut off or corrupt, and memory that is bounded."""

from __future__ import annotations

import io
import lzma
import random
import struct
import zipfile
import zlib

import pytest

from ocitool.errors import LayerError, TooLarge
from ocitool.image import decompress
from ocitool.image.decompress import HEAD, inflated
from ocitool.image.zip_stream import ZipStream
from tests.fixtures.deadlines import within

DATA = random.Random(1).randbytes(300_000).hex().encode()


def unpacked(data: bytes, size: int = 10_000) -> bytes:
    stream = inflated(data[:HEAD], io.BytesIO(data))
    return b"".join(iter(lambda: stream.read(size), b""))


@pytest.mark.slow
def test_streams_of_xz_follow_each_other_with_zeros_between_them():
    packed = lzma.compress(DATA) + bytes(400_000) + lzma.compress(b"end") + bytes(4)
    assert unpacked(packed) == DATA + b"end"
    assert inflated(packed[:HEAD], io.BytesIO(packed)).read() == DATA + b"end"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda packed: packed[:-9], "unexpected end of the xz stream"),
        (lambda packed: packed + b"other", "compressed data is corrupt"),
        (lambda packed: packed[:5000] + bytes(90) + packed[5090:], "is corrupt"),
    ],
    ids=["cut", "other data follows", "zeros"],
)
def test_xz_that_is_corrupt(spoil, said):
    with pytest.raises(LayerError, match=said):
        unpacked(spoil(lzma.compress(DATA, preset=0)))


@pytest.mark.slow
def test_memory_for_xz_is_bounded(monkeypatch):
    """A file says how much is needed, up to 4 GiB."""
    packed = lzma.compress(DATA, preset=9)
    assert unpacked(packed) == DATA
    monkeypatch.setattr(decompress, "_MEMORY", 20 << 20)
    with pytest.raises(TooLarge, match="more than 20 MiB of memory"):
        unpacked(packed)


@pytest.mark.parametrize("size", [1, 7000, 1 << 20])
def test_members_of_a_zip_that_are_deflated(size):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in (("a", DATA[:9000]), ("stored", b"s" * 900), ("b", b"x" * 9000)):
            method = zipfile.ZIP_STORED if name == "stored" else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, method)
    stream = ZipStream(io.BytesIO(out.getvalue()))
    assert b"".join(iter(lambda: stream.read(size), b"")) == DATA[:9000] + b"x" * 9000


def header(name: bytes = b"", *, flags: int = 0, method: int = 8) -> bytes:
    return struct.pack("<4sHHH16xHH", b"PK\3\4", 20, flags, method, len(name), 0) + name


@pytest.mark.parametrize(
    "between",
    [
        header(flags=1),
        header(method=0) + b"PK\3\4",
        header(b"n" * 70) + b"\xff",
        b"PK\3\4" * 70_000,
    ],
    ids=["encrypted", "stored", "corrupt", "many"],
)
def test_what_looks_like_a_member_of_a_zip_hides_no_other(between):
    packer = zlib.compressobj(wbits=-15)
    member = header(b"m") + packer.compress(DATA) + packer.flush()
    stream = ZipStream(io.BytesIO(member + between + member))
    assert stream.read() == DATA + DATA


@pytest.mark.slow
@pytest.mark.parametrize("piece", [b"PK\3\4", header()[:10], header() + b"\3\0"])
def test_a_zip_of_many_headers_takes_no_longer(piece):
    with within(10):
        assert ZipStream(io.BytesIO(piece * (4 << 20 >> 2))).read() == b""
