"""Copying files with their holes."""

from __future__ import annotations

import errno
import os

import pytest

from ocitool.drivers.fullcopy import copy_tree
from ocitool.layer.fileio import copy_data

MIB = 1 << 20


def made(path, size, runs):
    with open(path, "wb") as file:
        for at, data in runs:
            file.seek(at)
            file.write(data)
        file.truncate(size)
    return path


def blocks(path):
    return os.stat(path).st_blocks * 512


@pytest.mark.parametrize("kernel", ["copies", "refuses"])
@pytest.mark.parametrize(
    ("size", "runs"),
    [
        (0, []),
        (3, [(0, b"abc")]),
        (8 * MIB, []),
        (8 * MIB, [(0, b"first"), (5 * MIB, b"middle")]),
        (5 * MIB, [(5 * MIB - 4, b"last")]),
        (5 * MIB, [(0, b"x" * (5 * MIB))]),
    ],
)
def test_a_copy_has_the_same_data_and_holes(tmp_path, monkeypatch, kernel, size, runs):
    if kernel == "refuses":

        def refused(*_):
            raise OSError(errno.EXDEV, "other file systems")

        monkeypatch.setattr(os, "copy_file_range", refused)
    source = made(tmp_path / "source", size, runs)
    with open(source, "rb") as old, open(tmp_path / "target", "wb") as new:
        copy_data(old.fileno(), new.fileno())
    assert (tmp_path / "target").read_bytes() == source.read_bytes()
    assert blocks(tmp_path / "target") <= blocks(source)


def test_a_copied_tree_keeps_the_holes_of_its_files(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    made(tmp_path / "old/f", 64 * MIB, [(32 * MIB, b"x")])
    copy_tree(str(tmp_path / "old"), str(tmp_path / "new"))
    assert os.stat(tmp_path / "new/f").st_size == 64 * MIB
    assert blocks(tmp_path / "new/f") < MIB


def test_what_cannot_be_written_is_an_error(tmp_path):
    source = made(tmp_path / "source", 3, [(0, b"abc")])
    with open(source, "rb") as old, pytest.raises(OSError):
        copy_data(old.fileno(), old.fileno())
