"""vfs where the file system shares blocks: the suite on XFS, and the copies' blocks."""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile

import pytest

from ocitool.drivers import select
from ocitool.drivers.conformance.layers import file
from ocitool.drivers.conformance.suite import A, B, DriverConformance

_FIEMAP = 0xC020660B  # linux/fiemap.h
_HEAD = struct.Struct("=QQLLLL")  # start, length, flags, mapped, room, reserved
_EXTENT = struct.Struct("=QQQQQLLLL")  # logical, physical, length, two reserved, flags, reserved
_ROOM = 64  # extents
_SYNC = 1  # write it out first
_SHARED = 0x2000


def blocks(path):
    """Return (physical, shared) of every extent of the file."""
    answer = bytearray(_HEAD.size + _ROOM * _EXTENT.size)
    _HEAD.pack_into(answer, 0, 0, 1 << 62, _SYNC, 0, _ROOM, 0)
    with open(path, "rb") as content:
        fcntl.ioctl(content, _FIEMAP, answer)
    mapped = _HEAD.unpack_from(answer)[3]
    extents = [_EXTENT.unpack_from(answer, _HEAD.size + at * _EXTENT.size) for at in range(mapped)]
    return [(extent[1], bool(extent[5] & _SHARED)) for extent in extents]


class TestVfsOnXfs(DriverConformance):
    @pytest.fixture(autouse=True)
    def on_xfs(self, xfs, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(xfs))

    def make(self, home):
        return select.make("vfs", home)


@pytest.mark.parametrize("disk", ["xfs", "btrfs"])
def test_a_copy_shares_its_blocks(request, monkeypatch, disk):
    top = request.getfixturevalue(disk)
    monkeypatch.setattr(tempfile, "tempdir", str(top))
    bench = TestVfsOnXfs()
    with bench.driver() as driver:
        bench.layer(driver, A, (), [file("big", os.urandom(4 << 20)), file("changed", b"1" * 9000)])
        driver.begin("t", (A,))
        (below,), (tree,) = driver.view((A,)), driver.mounts("t", (A,))
        with open(f"{tree.source}/changed", "r+b") as content:
            content.write(b"2" * 9000)
        kept, copied = (blocks(f"{mount.source}/big") for mount in (below, tree))
        assert kept == copied
        assert kept
        assert all(shared for _, shared in kept)
        changed = blocks(f"{tree.source}/changed")
        assert changed
        assert not any(shared for _, shared in changed)
        with open(f"{below.source}/changed", "rb") as content:
            assert content.read() == b"1" * 9000
        driver.commit("t", B)
        assert bench.look(driver, (A, B)).keys() == {"big", "changed"}


def test_elsewhere_it_copies(root_only):
    """The test above can tell: on a file system without reflinks nothing is shared."""
    bench = TestVfsOnXfs()
    with bench.driver() as driver:
        bench.layer(driver, A, (), [file("big", os.urandom(1 << 20))])
        driver.begin("t", (A,))
        mounts = (*driver.view((A,)), *driver.mounts("t", (A,)))
        try:
            kept, copied = (blocks(f"{mount.source}/big") for mount in mounts)
        except OSError as error:
            pytest.skip(f"needs temporary files on a disk: {error.strerror}")
        if any(shared for _, shared in kept):
            pytest.skip("needs temporary files on a file system without reflinks")
        assert kept != copied
