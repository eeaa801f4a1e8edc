"""Files: writes that the kernel cuts short."""

from __future__ import annotations

import os

import pytest

from ocitool.layer.fileio import write_all, write_all_at

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
