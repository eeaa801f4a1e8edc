"""A tree is compared with its tar: each kind of difference is reported, and nothing else."""

from __future__ import annotations

import io
import os
import socket

import pytest

from ocitool.drivers.fullcopy import copy_tree
from ocitool.errors import LayerError
from ocitool.layer.changes.verify import compare
from tests.unit.layer.tars import directory, file, link, mine, symlink

BASE = (
    directory("d"),
    file("d/f", b"content", mtime=10**9),
    file("d/marked", b"m", xattrs={"user.note": b"1"}),
    link("d/g", "d/f", mtime=10**9),
    symlink("l", "d"),
    directory("kept"),
    file("kept/f", b"kept", mtime=10**9),
)
UPPER = (file("d/new", b"new"), file("d/.wh.f"), file("new/n", b"n"), file("kept/f", b"2"))


@pytest.fixture(autouse=True)
def in_directories(stack):
    if stack.erofs:
        pytest.skip("an image is compared as a whole, by its driver")


class Layer:
    """The topmost layer of a stack, and how a driver compares it."""

    def __init__(self, stack, top):
        self.stack, self.top, self.before = stack, top, ""
        self.data = b""

    def apply(self, *members):
        if not self.stack.overlay and self.stack.trees:
            self.before = str(self.top / f"before{len(list(self.top.iterdir()))}")
            os.mkdir(self.before)
            copy_tree(str(self.stack.trees[0]), self.before)
        self.data = mine(*members)
        self.stack.apply_tar(self.data)
        return self

    @property
    def tree(self):
        return self.stack.trees[-1]

    def faults(self, data=None):
        below = [str(tree) for tree in reversed(self.stack.trees[:-1])]
        if not self.stack.overlay:
            below = [self.before] if self.before else []
        stream = io.BytesIO(self.data if data is None else data)
        return list(compare(stream, str(self.tree), below, whole=not self.stack.overlay))


@pytest.fixture
def layer(stack, tmp_path):
    """Return the layer of `BASE`."""
    (tmp_path / "copies").mkdir()
    return Layer(stack, tmp_path / "copies").apply(*BASE)


def write(text):
    def act(path):
        state = path.stat()
        path.write_text(text)
        os.utime(path, ns=(state.st_mtime_ns, state.st_mtime_ns))

    return act


def replaced_by(make):
    def act(path):
        path.unlink()
        make(path)

    return act


@pytest.mark.parametrize(
    ("path", "act", "said"),
    [
        ("d/f", write("Content"), "has other content"),
        ("d/f", write("short"), "has 5 bytes instead of 7"),
        ("d/f", lambda path: os.chmod(path, 0o600), "has the mode 0600 instead of 0644"),
        ("d/f", lambda path: os.utime(path, ns=(1, 1)), "has the time 0 instead of 1"),
        ("d/f", os.unlink, "is missing"),
        ("d/f", replaced_by(lambda path: path.mkdir()), "is a directory instead of a file"),
        ("d/g", replaced_by(lambda path: path.touch()), "is not the same file as /d/f"),
        ("d/g", os.unlink, "is missing"),
        ("d", lambda path: os.chmod(path, 0o700), "has the mode 0700 instead of 0755"),
        ("d/marked", lambda path: os.removexattr(path, "user.note"), "lacks the attribute"),
        ("d/marked", lambda path: os.setxattr(path, "user.note", b"2"), "has another attribute"),
        ("d/f", lambda path: os.setxattr(path, "user.x", b"2"), "has another attribute user.x"),
        ("l", replaced_by(lambda path: path.symlink_to("f")), "points to 'f' instead of 'd'"),
        ("d/x", lambda path: path.write_text("x"), "is not in the layer"),
        ("x", os.mkdir, "is not in the layer"),
    ],
)
def test_differences_are_reported(layer, path, act, said):
    times = {place: place.stat().st_mtime_ns for place in (layer.tree, layer.tree / "d")}
    act(layer.tree / path)
    for place, time in times.items():  # one difference is wanted
        os.utime(place, ns=(time, time))
    faults = layer.faults()
    assert any(f"/{path}: {said}" in fault for fault in faults), faults


def test_what_was_unpacked_is_whole(layer):
    assert layer.faults() == []
    layer.apply(*UPPER)
    assert layer.faults() == []


def test_the_header_of_another_name_is_compared(layer):
    members = (*BASE, link("d/h", "d/g", mode=0o600, mtime=2 * 10**9))
    layer.apply(*members)
    assert layer.faults() == []
    os.chmod(layer.tree / "d/g", 0o644)
    assert layer.faults() == ["/d/f: has the mode 0644 instead of 0600"]


def test_the_header_of_another_name_of_a_file_below_is_compared(layer):
    layer.apply(link("h", "d/f", mode=0o600, mtime=2 * 10**9))
    assert layer.faults() == []
    os.utime(layer.tree / "h", ns=(0, 0))
    assert layer.faults() == ["/d/f: has the time 0 instead of 2"]


def test_an_owner_is_compared(layer, root_only):
    os.chown(layer.tree / "d/marked", 5, 6)
    assert layer.faults() == ["/d/marked: belongs to 5:6 instead of 0:0"]


def test_what_the_layer_removes_must_not_show(layer):
    layer.apply(*UPPER)
    hidden = layer.tree / "d/f"
    if layer.stack.overlay:
        hidden.unlink()
    else:
        os.link(layer.tree / "d/g", hidden)
    os.utime(layer.tree / "d", ns=(0, 0))
    assert layer.faults() == ["/d/f: is there although the layer removes it"]


def test_an_opaque_directory_shows_nothing_of_below(layer):
    layer.apply(file("d/.wh..wh..opq"), file("d/new", b"1"))
    assert layer.faults() == []
    if layer.stack.overlay:
        os.removexattr(layer.tree / "d", "user.overlay.opaque")
    else:
        (layer.tree / "d/marked").write_text("m")
    assert "/d/marked: is there although the layer removes it" in layer.faults()


def test_what_is_below_must_be_as_it_was(layer):
    layer.apply(file("new", b"1"))
    if layer.stack.overlay:
        os.mknod(layer.tree / "kept", 0o020000, 0)  # a whiteout that no one asked for
        assert layer.faults() == ["/kept: hides what the layer does not remove"]
        return
    (layer.tree / "d/marked").unlink()
    write("KEPT")(layer.tree / "kept/f")
    assert layer.faults() == ["/kept/f: is not as in the layer below", "/d/marked: is missing"]


def test_of_a_path_that_comes_twice_the_last_counts(layer):
    layer.apply(
        file("t", b"first"), file("t", b"second"), file("u", b"1"), link("v", "u"),
        file("u", b"2"), directory("w"), file("w/x", b"x"), symlink("w", "/etc"),
    )  # fmt: skip
    assert layer.faults() == []
    write("second!")(layer.tree / "t")
    assert layer.faults() == ["/t: has 7 bytes instead of 6"]


def test_members_are_found_behind_links(layer):
    layer.apply(file("l/behind", b"1"), link("l/other", "l/behind"))
    assert layer.faults() == []
    (layer.tree / "d/behind").unlink()
    os.utime(layer.tree / "d", ns=(0, 0))
    assert layer.faults() == ["/d/behind: is missing"]


def test_sockets_and_strange_times_are_no_fault(layer):
    layer.apply(file("old", b"1", mtime=-(10**18)), file("new", b"1", mtime=10**19))
    fd = os.open(layer.tree, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{fd}/socket")  # a path may have 107 bytes
    os.close(fd)
    os.utime(layer.tree / "new", ns=(5, 5))
    assert layer.faults() == []


def test_names_are_one_line_each(layer):
    layer.apply(file("two\nlines", b"1"))
    os.truncate(layer.tree / "two\nlines", 0)
    assert layer.faults()[0].startswith("/two\\nlines: has")


def test_a_corrupt_tar_is_reported_as_such(layer):
    with pytest.raises(LayerError):
        layer.faults(layer.data[:700])
