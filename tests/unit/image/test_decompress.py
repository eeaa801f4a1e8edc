"""Compressed input: several streams, what is cut off or corrupt, and memory that is bounded."""

from __future__ import annotations

import io
import lzma
import random
import zipfile

import pytest

from ocitool.errors import LayerError, TooLarge
from ocitool.image import decompress
from ocitool.image.decompress import HEAD, inflated
from ocitool.image.zip_stream import ZipStream

DATA = random.Random(1).randbytes(300_000).hex().encode()


def unpacked(data: bytes, size: int = 10_000) -> bytes:
    stream = inflated(data[:HEAD], io.BytesIO(data))
    return b"".join(iter(lambda: stream.read(size), b""))


def test_streams_of_xz_follow_each_other_with_zeros_between_them():
    packed = lzma.compress(DATA) + bytes(400_000) + lzma.compress(b"end") + bytes(4)
    assert unpacked(packed) == DATA + b"end"
    assert inflated(packed[:HEAD], io.BytesIO(packed)).read() == DATA + b"end"


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
