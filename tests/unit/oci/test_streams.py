"""Streams over streams."""

from __future__ import annotations

import io

import pytest

from ocitool.oci.streams import Peeked, Tee

DATA = bytes(range(256))


def test_a_tee_passes_on_every_piece_but_the_empty_one():
    pieces = []
    tee = Tee(io.BytesIO(DATA), pieces.append)
    assert b"".join(iter(lambda: tee.read(100), b"")) == DATA
    assert [len(piece) for piece in pieces] == [100, 100, 56]
    assert b"".join(pieces) == DATA


@pytest.mark.parametrize("size", [0, 3, 300])
def test_what_was_read_ahead_is_read_again(size):
    peeked = Peeked(io.BytesIO(DATA), size)
    assert peeked.head == DATA[:size]
    assert b"".join(iter(lambda: peeked.read(2), b"")) == DATA
    peeked = Peeked(io.BytesIO(DATA), size)
    assert peeked.read() + peeked.read() == DATA
