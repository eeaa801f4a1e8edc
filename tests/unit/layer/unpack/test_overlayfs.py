"""What the kernel's overlayfs shows of our layers is what we say it shows."""

from __future__ import annotations

import io
import os
import subprocess

import pytest

from ocitool.layer.unpack.extract import apply
from ocitool.layer.unpack.whiteouts import OverlayWhiteouts
from tests.unit.layer.conftest import describe
from tests.unit.layer.tars import directory, file, symlink, tar

LAYERS = (
    [directory("d"), file("d/a", b"a"), directory("d/s"), file("d/s/b", b"b"), file("f", b"f")],
    [file("d/.wh.a"), file("d/s/.wh..wh..opq"), file("d/s/c", b"c"), symlink("l", "d/s")],
    [file(".wh.f"), directory("f", 0o700), file("l/new", b"n"), file(".wh.d"), file("d/x/y", b"y")],
    [file(".wh..wh..opq"), file("d/only", b"o")],
)


@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_kernel_shows_what_the_layers_say(tmp_path, stack, count):
    if not stack.overlay:
        pytest.skip("only overlay's trees are stacked by the kernel")
    trees = []
    for layer in LAYERS[:count]:
        tree = tmp_path / f"kernel{len(trees)}"
        tree.mkdir()
        lower = [str(below) for below in trees]
        apply(io.BytesIO(tar(*layer)), str(tree), OverlayWhiteouts("trusted"), lower=lower)
        trees.insert(0, tree)
        stack.apply(*layer)
    top = tmp_path / "mounted"
    top.mkdir()
    (tmp_path / "kernelempty").mkdir()  # overlayfs wants two at least
    options = "lowerdir=" + ":".join(map(str, [*trees, tmp_path / "kernelempty"]))
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, top]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs overlay mounts: {done.stderr.strip()}")
    try:
        shown = {
            os.path.relpath(os.path.join(folder, name), top): os.path.join(folder, name)
            for folder, folders, files in os.walk(top)
            for name in (*folders, *files)
        }
        assert {p: describe(top / p) for p in shown} == stack.shows()
    finally:
        subprocess.run(["umount", top], check=True)
