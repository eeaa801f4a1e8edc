"""A layer beyond 4 GiB, whose tar takes next to nothing on disk."""

from __future__ import annotations

import os
import shutil

import pytest

from ocitool.drivers.erofs_files import HolesFile
from ocitool.layer.erofs.convert import index
from ocitool.layer.erofs.lower_layers import Stack
from tests.fixtures.erofs import shown, unmountable
from tests.unit.layer.tars import file, header, tar

LARGE = (4 << 30) + 1234  # bytes
ROOM = 64 << 20  # bytes


@pytest.fixture
def large_tar(tmp_path):
    """A file of `LARGE` bytes, zeros except the last four, and a small one behind it."""
    if shutil.disk_usage(tmp_path).free < ROOM:
        pytest.skip("needs a little room on the disk")
    path = tmp_path / "0.tar"
    with open(path, "wb") as out:
        out.write(header(b"large", size=b"%o" % LARGE))
        out.seek(512 + LARGE - 4)
        out.write(b"last")
        out.seek(-LARGE % 512, os.SEEK_CUR)
        out.write(tar(file("small", b"small"), file("empty")))
    assert path.stat().st_blocks * 512 < ROOM
    return path


@pytest.mark.campaign
def test_content_beyond_four_gibibytes(tmp_path, large_tar):
    if reason := unmountable(str(tmp_path.parent)):
        pytest.skip(reason)
    image = tmp_path / "0.image"
    with open(large_tar, "rb", buffering=0) as stream:
        done = index(stream, Stack([]), HolesFile(str(tmp_path / "0.holes")))
    image.write_bytes(done.image)
    assert done.applied.size == LARGE + 5
    (tmp_path / "shown").mkdir()
    with shown(image, [str(large_tar)], tmp_path / "shown") as top:
        assert {p.name: p.stat().st_size for p in top.iterdir()} == {
            "large": LARGE, "small": 5, "empty": 0
        }  # fmt: skip
        assert (top / "small").read_bytes() == b"small"
        with open(top / "large", "rb") as content:
            content.seek(LARGE - 8)
            assert content.read() == b"\0\0\0\0last"
