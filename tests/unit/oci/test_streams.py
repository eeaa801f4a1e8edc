"""Streams over streams, and writes that the kernel cuts short."""

from __future__ import annotations

import io
import os

import pytest

from ocitool.oci.streams import Peeked, PipeReader, Tee, write_all, write_all_at

DATA = bytes(range(256))


@pytest.fixture
def short_writes(monkeypatch):
    """As on a nearly full disk or a full pipe: no call writes more than 100 bytes."""
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:100]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:100], at))


@pytest.mark.usefixtures("short_writes")
def test_all_is_written_where_the_kernel_takes_a_part(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        write_all(file.fileno(), DATA)
        write_all_at(file.fileno(), DATA, 1000)
        write_all_at(file.fileno(), b"", 5000)
    assert path.read_bytes() == DATA + bytes(1000 - len(DATA)) + DATA


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


def test_a_pipe_is_read_to_its_end_and_stays_open():
    end, start = os.pipe()
    try:
        os.write(start, DATA)
        os.close(start)
        reader = PipeReader(end)
        assert (reader.read(10), reader.read(), reader.read(1)) == (DATA[:10], DATA[10:], b"")
        reader.close()
        os.fstat(end)
    finally:
        os.close(end)
