"""The fuse-overlayfs driver with the real program: the suite, and what is its own."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import pytest

from ocitool.drivers import select
from ocitool.drivers.conformance.harness import LIST, timeless
from ocitool.drivers.conformance.layers import directory, entries_of, file, hardlink, symlink, tar
from ocitool.drivers.conformance.suite import A, B, C, DriverConformance
from ocitool.drivers.fuse_overlayfs import FuseOverlayDriver
from ocitool.layer.beneath import remove_tree
from ocitool.layer.unpack.extract import apply
from ocitool.layer.unpack.whiteouts import Removal
from tests.fixtures.programs import execute


@pytest.fixture(scope="module")
def fuse_works(tmp_path_factory):
    support = select.probe("fuse-overlayfs", str(tmp_path_factory.mktemp("probe") / "fuse"))
    if not support.ok:
        pytest.skip(f"needs fuse-overlayfs: {support.reason}")


@pytest.mark.campaign
@pytest.mark.usefixtures("fuse_works")
class TestFuseOverlay(DriverConformance):
    def make(self, home):
        return select.make("fuse-overlayfs", home)

    def test_an_upper_is_complete_by_itself(self):
        """What the layer written from it unpacks to is what a program saw in the tree."""
        low = [
            directory(name) for name in ("moved", "moved/in", "again", "again/in", "mode", "own")
        ]
        low += [file(f"{each[0].path}/f", each[0].path.encode() * 99) for each in low]
        low += [file("linked", b"1"), hardlink("twin", "linked"), symlink("to", "linked")]
        edit = (
            "import os, shutil\n"
            "shutil.move('moved', 'new'); shutil.rmtree('again'); os.mkdir('again')\n"
            "os.mkdir('again/in'); open('again/in/g', 'w').write('g')\n"
            "os.chmod('mode', 0o700); os.chmod('own/f', 0o4711); os.chown('own', 5, 6)\n"
            "open('linked', 'a').write('more'); os.rename('to', 'link'); os.truncate('mode/f', 7)\n"
            "os.setxattr('own', 'user.x', b'y'); os.mkdir('gone'); os.rmdir('gone')\n"
            "os.unlink('own/f'); os.mkdir('own/f'); os.symlink('/nowhere', 'again/link')\n"
        )
        with self.driver() as driver:
            self.layer(driver, A, (), low)
            driver.begin("t", (A,))
            self.inside(driver, "t", (A,), edit)
            seen = self.inside(driver, "t", (A,), LIST)
            data = self.diff(driver, "t", (A,))
            assert self.inside(driver, "t", (A,), LIST) == seen  # and it can go on
            driver.begin("again", (A,))
            driver.apply("again", (A,), io.BytesIO(data))
            driver.commit("again", B)
            driver.commit("t", C)
            del seen["."]
            assert timeless(self.look(driver, (A, B))) == timeless(seen)
            assert timeless(self.look(driver, (A, C))) == timeless(seen)
        found = entries_of(data)
        hiding = [name for name in found if "/.wh." in name]
        assert hiding == ["again/.wh.f", "again/in/.wh.f"]  # nothing else was there
        assert not [name for name in found if "gone" in name]

    def test_it_writes_the_names_that_the_kernel_writes(self, tmp_path):
        if not (support := select.probe("overlay", str(tmp_path))).ok:
            pytest.skip(f"needs overlay: {support.reason}")
        low = [directory("d"), directory("d/e"), file("d/f", b"1"), file("d/e/f", b"1")]
        low += [file("x", b"1"), file("y", b"1")]
        edit = (
            "import os, shutil; shutil.rmtree('d/e'); os.mkdir('d/e'); os.mkdir('d/e/new')\n"
            "open('d/f', 'a').write('2'); os.mkdir('p'); os.rmdir('p'); os.mkdir('q')\n"
            "os.unlink('x'); os.mkdir('x'); os.rename('y', 'z'); os.unlink('z')"
        )
        names = []
        for name in ("fuse-overlayfs", "overlay"):
            home = tempfile.mkdtemp()
            driver = select.make(name, home)
            self.layer(driver, A, (), low)
            driver.begin("t", (A,))
            self.inside(driver, "t", (A,), edit)
            names.append(list(entries_of(self.diff(driver, "t", (A,)))))
            driver.close()
            remove_tree(home)
        assert names[0] == names[1]


def test_marks_that_are_forged_in_a_layer_are_left_out(tmp_path):
    marked = directory("d", (os.geteuid(), os.getegid()))
    marked = (marked[0]._replace(xattrs={"user.fuseoverlayfs.opaque": b"y", "user.a": b"1"}), b"")
    apply(tar([marked]), str(tmp_path), Removal())
    assert os.listxattr(tmp_path / "d") == ["user.a"]


def test_without_the_program_the_hint_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = FuseOverlayDriver(str(tmp_path)).probe()
    assert (found.ok, found.hint) == (False, "install the package fuse-overlayfs")
    assert os.listdir(tmp_path) == []


def test_on_another_overlay_it_is_refused_with_the_remedy(root_only, fuse_works, session_tree):
    """There no whiteout can be made that the kernel would not take for its own."""
    place = Path(tempfile.mkdtemp(dir=session_tree))
    for name in ("lower", "upper", "work", "top"):
        (place / name).mkdir()
    options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    made = execute(["mount", "-t", "overlay", "-o", options, "none", place / "top"])
    if made.code != 0:
        pytest.skip(f"needs overlay: {made.stderr.strip()}")
    try:
        found = select.probe("fuse-overlayfs", str(place / "top/home"))
        assert (found.ok, "no whiteout" in found.reason) == (False, True)
        assert "volume" in found.hint
        assert os.listdir(place / "top/home") == []
    finally:
        execute(["umount", place / "top"]).ok()
