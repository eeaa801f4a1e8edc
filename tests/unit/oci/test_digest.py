"""Digests, and streams that verify what they carry."""

from __future__ import annotations

import hashlib
import io

import pytest

from ocitool.errors import BadDigest, DigestMismatch
from ocitool.oci.digest import Digest
from ocitool.oci.streams import VerifiedReader

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "algorithm"), [(f"sha256:{HEX}", "sha256"), (f"sha512:{HEX}{HEX}", "sha512")]
)
def test_a_digest_reads_back(text, algorithm):
    digest = Digest.parse(text)
    assert (digest.algorithm, str(digest)) == (algorithm, text)
    assert digest.short == "0123456789ab"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        f":{HEX}",
        HEX,
        f"sha256:{HEX[1:]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"SHA256:{HEX}",
        f"sha512:{HEX}",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"sha256:../{HEX[3:]}",
        f"md5:{HEX[:32]}",
        f"blake3:{HEX}",
        f"sha256::{HEX}",
        f"sha256+b64:{HEX}",
        "sha256:" + "\u0660" * 64,  # digits, but not ASCII
    ],
)
def test_what_is_no_digest_is_refused_with_its_place(text):
    with pytest.raises(BadDigest) as caught:
        Digest.parse(text, "layers[2].digest")
    assert caught.value.where == "layers[2].digest"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_digest_of_bytes(algorithm):
    digest = Digest.of(b"abc", algorithm)
    assert digest.encoded == hashlib.new(algorithm, b"abc").hexdigest()
    assert Digest.parse(str(digest)) == digest


class Dribble(io.RawIOBase):
    """A source that gives a few bytes at a time, and counts what was taken."""

    def __init__(self, data, step=3):
        self.source, self.step, self.taken = io.BytesIO(data), step, 0

    def read(self, size=-1):
        data = self.source.read(min(size, self.step) if size >= 0 else self.step)
        self.taken += len(data)
        return data


def reader(source, content, size=None):
    source = io.BytesIO(source) if isinstance(source, bytes) else source
    size = len(content) if size is None else size
    return VerifiedReader(source, Digest.of(content), size, where="blob")


@pytest.mark.parametrize("content", [b"", b"x", b"hello world" * 1000])
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_right_content_passes(content, step):
    stream = reader(content, content)
    assert b"".join(iter(lambda: stream.read(step), b"")) == content
    assert stream.read(step) == b""


def test_reading_all_verifies_all_even_from_a_source_that_dribbles():
    assert reader(Dribble(b"hello world"), b"hello world").read() == b"hello world"
    with pytest.raises(DigestMismatch):
        reader(Dribble(b"hello World"), b"hello world").read()


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (b"hello", "only 5 of 11 bytes"),
        (b"", "only 0 of 11 bytes"),
        (b"hello world!", "more than 11 bytes"),
        (b"hello World", "sha256:"),
    ],
)
def test_wrong_content_raises_and_goes_on_raising(sent, got):
    stream = reader(sent, b"hello world")
    for _ in range(2):
        with pytest.raises(DigestMismatch, match=got) as caught:
            while stream.read(4):
                pass
    assert caught.value.wanted == str(Digest.of(b"hello world"))
    assert caught.value.where == "blob"


@pytest.mark.parametrize("size", [-1, 1 << 20])
def test_a_source_without_end_costs_one_byte_too_many(size):
    endless = Dribble(bytes(1 << 16), step=1 << 16)
    stream = reader(endless, bytes(100))
    with pytest.raises(DigestMismatch):
        while stream.read(size):
            pass
    assert endless.taken == 101


def test_the_size_decides_before_the_digest():
    with pytest.raises(DigestMismatch, match="more than 3 bytes"):
        reader(b"hello", b"hello", size=3).read()


def test_reading_nothing_verifies_nothing_and_closing_closes():
    source = io.BytesIO(b"wrong")
    with reader(source, b"right") as stream:
        assert stream.read(0) == b""
    assert source.closed
