"""The btrfs driver on a real btrfs: the suite, and what is its own."""

from __future__ import annotations

import errno
import os
import tempfile

import pytest

from ocitool import plugins
from ocitool.drivers import btrfs_subvolumes, probes, select
from ocitool.drivers.btrfs import BtrfsDriver
from ocitool.drivers.conformance.layers import directory, file
from ocitool.drivers.conformance.suite import A, B, C, DriverConformance
from ocitool.drivers.driver import Support
from ocitool.layer.beneath import remove_tree


@pytest.fixture(autouse=True)
def on_btrfs(btrfs, monkeypatch):
    """Every home of a test lies on btrfs; at its end no subvolume is left there."""
    top = tempfile.mkdtemp(dir=btrfs)
    monkeypatch.setattr(tempfile, "tempdir", top)
    yield
    left = [place for place, _, _ in os.walk(top) if btrfs_subvolumes.is_subvolume(place)]
    assert left == []


@pytest.mark.campaign
class TestBtrfs(DriverConformance):
    def make(self, home):
        return select.make("btrfs", home)

    def test_a_layer_is_frozen(self):
        with self.driver() as driver:
            self.layer(driver, A, (), [file("f")])
            (view,) = driver.view((A,))
            with pytest.raises(OSError, match="Read-only") as caught:
                os.unlink(f"{view.source}/f")
            assert caught.value.errno == errno.EROFS
            driver.begin("t", (A,))
            (tree,) = driver.mounts("t", (A,))
            os.unlink(f"{tree.source}/f")  # a tree on it is not

    def test_usage_is_what_a_layer_adds(self):
        with self.driver() as driver:
            self.layer(driver, A, (), [file("big", b"x" * 100_000), directory("d")])
            self.layer(driver, B, (A,), [file("d/small", b"y" * 10)])
            assert driver.usage(A).size == 100_000
            found = driver.usage(B)
            assert (found.size, found.inodes) == (10, 3)  # the file, its directory, the root

    def test_layers_share_their_blocks(self, btrfs):
        noise = os.urandom(8 << 20)
        with self.driver() as driver:
            self.layer(driver, A, (), [file("big", noise)])
            before = used(btrfs)
            self.layer(driver, B, (A,), [file("small", b"1")])
            self.layer(driver, C, (A, B), [file("smaller", b"1")])
            assert used(btrfs) - before < len(noise)  # two copies would be twice that
            assert self.look(driver, (A, B, C)).keys() == {"big", "small", "smaller"}

    def test_subvolumes_of_a_container_are_kept_as_directories(self):
        with self.driver() as driver:
            self.layer(driver, A, (), [directory("d"), file("d/old")])
            driver.begin("t", (A,))
            nest(driver, "t", (A,))
            data = self.diff(driver, "t", (A,))
            driver.commit("t", B)
            self.layer(driver, C, (A, B), [file("top")])
            seen = self.look(driver, (A, B, C))
            assert {"d/inner/f", "d/inner/deeper/g"} <= seen.keys()
            assert seen["d"]["time"] == 5
            driver.begin("again", (A,))
            nest(driver, "again", (A,))
            driver.commit("again", "d" * 64)  # without a diff before
            assert "d/inner/deeper/g" in self.look(driver, (A, "d" * 64))
        assert b"deeper" in data

    def test_a_snapshot_that_a_container_made_is_in_the_diff(self):
        with self.driver() as driver:
            self.layer(driver, A, (), [file("old", b"as before")])
            driver.begin("t", (A,))
            top = driver.mounts("t", (A,))[0].source
            btrfs_subvolumes.snapshot(top, f"{top}/.snapshot")
            assert b"as before" in self.diff(driver, "t", (A,))

    def test_subvolumes_of_a_container_go_with_its_tree(self):
        with self.driver() as driver:
            self.layer(driver, A, (), [directory("d")])
            driver.begin("t", (A,))
            nest(driver, "t", (A,))
            driver.discard("t")
            assert list(driver.trees()) == []

    def test_a_copy_that_fails_leaves_nothing(self, monkeypatch):
        def full(source, target):
            os.mkdir(f"{target}/half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with self.driver() as driver:
            self.layer(driver, A, (), [directory("d")])
            driver.begin("t", (A,))
            nest(driver, "t", (A,))
            top = driver.mounts("t", (A,))[0].source
            with monkeypatch.context() as patch:
                patch.setattr(btrfs_subvolumes, "copy_tree", full)
                with pytest.raises(OSError, match="No space"):
                    driver.commit("t", B)
            assert os.listdir(f"{top}/d") == ["inner"]
            driver.commit("t", B)
            assert "d/inner/deeper/g" in self.look(driver, (A, B))

    def test_what_a_kill_left_in_a_commit_is_discarded(self):
        """The tree is frozen already, and not yet renamed."""
        with self.driver() as driver:
            self.layer(driver, A, (), self.everything)
            driver.begin("t", (A,))
            btrfs_subvolumes.set_read_only(driver.mounts("t", (A,))[0].source, True)
            driver.discard("t")
            assert list(driver.trees()) == []


def nest(driver, key, parents):
    """Make subvolumes in the tree, where a container would see them."""
    (mount,) = driver.mounts(key, parents)
    d = f"{mount.source}/d"
    for inner, name in ((f"{d}/inner", "f"), (f"{d}/inner/deeper", "g")):
        btrfs_subvolumes.create(inner)
        with open(f"{inner}/{name}", "w") as content:
            content.write("deeper")
    btrfs_subvolumes.set_read_only(f"{d}/inner/deeper", True)
    os.utime(d, (5, 5))


def used(place):
    """Return how many bytes of the file system are in use, with all that was written there."""
    os.sync()
    state = os.statvfs(place)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def test_elsewhere_it_is_refused(session_tree):
    place = tempfile.mkdtemp(dir=session_tree)
    if btrfs_subvolumes.on_btrfs(place):
        pytest.skip("needs temporary files on something else than btrfs")
    found = select.probe("btrfs", f"{place}/home")
    assert (found.ok, found.reason) == (False, "the store is not on btrfs")
    assert found.hint
    assert os.listdir(f"{place}/home") == []


def test_it_is_chosen_where_it_is_the_first_that_works(monkeypatch):
    """As on a kernel without overlay."""
    names = [name for name in plugins.names("ocitool.drivers") if name != "erofs"]
    monkeypatch.setattr(plugins, "names", lambda group: names)
    monkeypatch.setattr(probes, "try_overlay", lambda *_: Support(ok=False, reason="for the test"))
    place = tempfile.mkdtemp(prefix="with:colon,")
    choice = select.choose(place)
    assert choice.name == "btrfs", choice
    remove_tree(place)


def test_a_crowd_of_subvolumes_is_seen():
    """More than one answer of the kernel has room for."""
    place = tempfile.mkdtemp()
    top = f"{place}/top"
    btrfs_subvolumes.create(top)
    for at in range(300):
        btrfs_subvolumes.create(f"{top}/{at}")
    assert btrfs_subvolumes.destroy(top)
    assert os.listdir(place) == []
    os.rmdir(place)


def test_root_destroys_at_once():
    place = tempfile.mkdtemp()
    assert BtrfsDriver(place).probe().reason == "btrfs snapshots work here"
    os.rmdir(place)
