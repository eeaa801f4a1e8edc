"""Finding what changed: copies compared with what they were made of, and overlay uppers."""

from __future__ import annotations

import io
import os
import shutil
import socket

import pytest

from ocitool.errors import LayerError
from ocitool.layer.changes.before import Stacked
from ocitool.layer.changes.describe import describe
from ocitool.layer.changes.diff import changes_in_upper, changes_since, write_changes
from ocitool.layer.entry import Kind
from tests.unit.layer.conftest import OPAQUE
from tests.unit.layer.tars import members


class Copy:
    """A tree, a copy of it, and the time when the copy was done."""

    def __init__(self, top):
        self.before, self.tree, self._mark = top / "before", top / "tree", top / "mark"
        self.before.mkdir()
        self.since = 0

    def copy(self):
        """Copy the tree, as the driver does, and take the time after it."""
        shutil.copytree(self.before, self.tree, symlinks=True)
        # The clock of the file system moves in ticks: wait for the next one.
        made = max(os.lstat(p).st_ctime_ns for p in (self.tree, *self.tree.rglob("*")))
        while self.since <= made:
            self._mark.write_text("")
            os.utime(self._mark)
            self.since = self._mark.stat().st_ctime_ns
        return self.tree

    def changes(self):
        """What changed: paths, of directories with a slash, whiteouts as such."""
        found = changes_since(str(self.tree), str(self.before), self.since)
        return [e.path + "/" * (e.kind == Kind.DIRECTORY) for e, _ in found]


@pytest.fixture
def copy(tmp_path):
    built = Copy(tmp_path)
    (built.before / "d/s").mkdir(parents=True)
    (built.before / "d/a").write_text("a")
    (built.before / "d/s/b").write_text("b")
    (built.before / "f").write_text("f")
    (built.before / "l").symlink_to("f")
    return built


def test_nothing_changed(copy):
    copy.copy()
    assert copy.changes() == []


def test_what_was_put_back_as_it_was_is_no_change(copy):
    tree = copy.copy()
    state = (tree / "f").stat()
    (tree / "f").write_text("other")
    (tree / "f").write_text("f")
    os.utime(tree / "f", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert copy.changes() == []


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        (lambda t: (t / "f").write_text("g"), ["f"]),
        (lambda t: (t / "f").chmod(0o600), ["f"]),
        (lambda t: os.utime(t / "f", ns=(1, 1)), ["f"]),
        (lambda t: os.setxattr(t / "f", "user.a", b"1"), ["f"]),
        (lambda t: (t / "d").chmod(0o700), ["d/"]),
        (lambda t: (t / "d/n").write_text(""), ["d/", "d/n"]),
        (lambda t: (t / "d/a").unlink(), ["d/", "d/.wh.a"]),
        (lambda t: shutil.rmtree(t / "d/s"), ["d/", "d/.wh.s"]),
        (lambda t: shutil.rmtree(t / "d"), [".wh.d"]),
        (lambda t: ((t / "l").unlink(), (t / "l").symlink_to("d")), ["l"]),
        (lambda t: (shutil.rmtree(t / "d"), (t / "d").write_text("")), ["d"]),
        (lambda t: ((t / "f").unlink(), (t / "f").mkdir(), (t / "f/x").mkdir()), ["f/", "f/x/"]),
        (lambda t: ((t / "f").unlink(), os.mkfifo(t / "f")), ["f"]),
    ],
)
def test_changes(copy, change, changes):
    change(copy.copy())
    assert copy.changes() == changes


def test_a_directory_that_was_moved_takes_its_files_along(copy):
    """Their change times are old, and nothing of them was in the layer."""
    tree = copy.copy()
    (tree / "d").rename(tree / "e")
    assert copy.changes() == [".wh.d", "e/", "e/a", "e/s/", "e/s/b"]


def test_directories_that_were_exchanged_are_distinguished_by_content(copy):
    for name in ("v1", "v2"):
        (copy.before / name / "in").mkdir(parents=True)
        (copy.before / name / "in/version").write_text(name)
        for path in ("in/version", "in", "."):
            os.utime(copy.before / name / path, ns=(10**18, 10**18))
    tree = copy.copy()
    (tree / "v1").rename(tree / "v0")
    (tree / "v2").rename(tree / "v1")
    (tree / "v0").rename(tree / "v2")
    changed = [f"{name}/{path}" for name in ("v1", "v2") for path in ("", "in/", "in/version")]
    assert copy.changes() == changed


def test_a_tree_without_one_before_is_not_compared_with_this_machine(tmp_path):
    (tmp_path / "etc").mkdir()
    found = changes_since(str(tmp_path), "", 0)
    assert [e.path for e, _ in found] == ["etc"]


def test_a_link_of_the_old_tree_is_not_followed(copy, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("s")
    (copy.before / "x").symlink_to(tmp_path / "outside")
    tree = copy.copy()
    (tree / "x").unlink()
    (tree / "x").mkdir()
    shutil.copy2(tmp_path / "outside/secret", tree / "x/secret")
    assert copy.changes() == ["x/", "x/secret"]


def test_sockets_are_left_out_and_hide_what_was_there(copy):
    tree = copy.copy()
    (tree / "f").unlink()
    for name in ("f", "new"):
        with socket.socket(socket.AF_UNIX) as one:
            here = os.getcwd()
            os.chdir(tree)  # a socket's path has at most 107 bytes
            try:
                one.bind(name)
            finally:
                os.chdir(here)
    assert copy.changes() == [".wh.f"]


def test_names_of_one_file_are_links_to_the_first(copy):
    tree = copy.copy()
    (tree / "z").write_text("z")
    os.link(tree / "z", tree / "d/y")
    found = {e.path: e for e, _ in changes_since(str(tree), str(copy.before), copy.since)}
    assert (found["d/y"].kind, found["z"].kind) == (Kind.FILE, Kind.HARDLINK)
    assert found["z"].link == "d/y"


def test_names_are_in_the_order_of_their_bytes(copy):
    tree = copy.copy()
    for name in (b"\xff", "é".encode(), b"a", b"B", b"a-", b"a/b"):
        path = os.path.join(os.fsencode(tree), name)
        if b"/" in name:
            path = os.path.join(os.fsencode(tree), b"aa")
        with open(path, "wb"):
            pass
    assert copy.changes() == ["B", "a", "a-", "aa", "é", "\udcff"]


@pytest.mark.parametrize("name", [".wh.x", ".wh..wh..opq"])
def test_a_name_that_would_read_as_a_whiteout_is_refused(copy, name):
    tree = copy.copy()
    (tree / "d" / name).write_text("")
    with pytest.raises(LayerError, match=r"\.wh\."):
        copy.changes()
    with pytest.raises(LayerError, match=r"\.wh\."):
        list(changes_in_upper(str(tree), OPAQUE, Stacked([])))


@pytest.mark.slow
def test_a_tree_deeper_than_can_be_unpacked_is_refused(copy):
    here = str(copy.copy())
    os.makedirs(here + "/x" * 300)
    with pytest.raises(LayerError, match="deep"):
        copy.changes()
    with pytest.raises(LayerError, match="deep"):
        list(changes_in_upper(here, OPAQUE, Stacked([])))


@pytest.fixture
def upper(tmp_path):
    """An overlay upper with one of everything."""
    top = tmp_path / "upper"
    (top / "d/s").mkdir(parents=True)
    (top / "d/f").write_text("f")
    for path in ("d/gone", "d/s/hidden"):
        (tmp_path / "lower" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lower" / path).write_text("")
    try:
        os.mknod(top / "d/gone", 0o20000, os.makedev(0, 0))
        os.setxattr(top / "d/s", OPAQUE, b"y")
        os.setxattr(top / "d", OPAQUE, b"x")
    except OSError as error:
        pytest.skip(f"needs whiteouts and user attributes: {error}")
    return top


def upper_before(upper):
    return Stacked([str(upper.parent / "lower")])


def test_an_overlay_upper(upper):
    found = [e for e, _ in changes_in_upper(str(upper), OPAQUE, upper_before(upper))]
    assert [e.path for e in found] == ["d", "d/.wh.gone", "d/f", "d/s", "d/s/.wh.hidden"]
    assert all(not e.xattrs for e in found)  # overlayfs's own xattrs stay with it
    assert [e.size for e in found] == [0, 0, 1, 0, 0]


def test_whiteouts_have_no_time_and_no_owner(upper):
    (whiteout,) = (
        e
        for e, _ in changes_in_upper(str(upper), OPAQUE, upper_before(upper))
        if e.path == "d/.wh.gone"
    )
    assert (whiteout.mtime, whiteout.uid, whiteout.gid, whiteout.kind) == (0, 0, 0, Kind.FILE)


def written(changes, **options):
    data = bytearray()
    count = write_changes(changes, data.extend, **options)
    return count, members(io.BytesIO(bytes(data)))


def test_changes_are_written_with_their_content(upper):
    count, found = written(changes_in_upper(str(upper), OPAQUE, upper_before(upper)))
    assert count == len(found) == 5
    assert {e.path: content for e, content in found}["d/f"] == b"f"


def test_times_are_clamped_in_the_layer_and_in_the_tree(upper):
    os.utime(upper / "d/f", ns=(5 * 10**9, 5 * 10**9))
    os.utime(upper / "d/s", ns=(15 * 10**9, 15 * 10**9))
    _, found = written(changes_in_upper(str(upper), OPAQUE, upper_before(upper)), clamp=10)
    times = {e.path: e.mtime // 10**9 for e, _ in found}
    assert (times["d/f"], times["d/s"], times["d"]) == (5, 10, 10)
    assert (upper / "d/s").stat().st_mtime_ns == 10 * 10**9
    assert (upper / "d/f").stat().st_mtime_ns == 5 * 10**9


def test_all_names_of_a_file_made_anew_are_written_though_a_clamp_makes_it_as_it_was(copy):
    (copy.before / "c").write_text("c")
    (copy.before / "d/g").hardlink_to(copy.before / "c")
    os.utime(copy.before / "c", ns=(10**10, 10**10))
    tree = copy.copy()
    for name in ("c", "d/g"):
        (tree / name).unlink()
    (tree / "c").write_text("c")
    (tree / "d/g").hardlink_to(tree / "c")
    found = changes_since(str(tree), str(copy.before), copy.since)
    assert [(e.path, e.link) for e, _ in written(found, clamp=10)[1]] == [
        *(("c", ""), ("d", ""), ("d/g", "c")),
    ]


def test_a_file_that_shrinks_while_it_is_read_is_refused(upper):
    state = (upper / "d/f").stat()
    change = describe(str(upper / "d/f"), "d/f", state, {})
    (upper / "d/f").write_text("")
    with pytest.raises(LayerError, match="shrank"):
        written(iter([change]))


def test_a_directory_that_was_only_copied_up_is_left_out(tmp_path):
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for tree in (lower, upper):
        (tree / "same/inner").mkdir(parents=True)
        (tree / "moded").mkdir()
        for path in ("same/inner", "same", "moded"):
            os.utime(tree / path, ns=(10**9, 10**9))
    (upper / "moded").chmod(0o700)
    os.utime(upper / "moded", ns=(10**9, 10**9))
    (upper / "new").mkdir()
    found = [e.path for e, _ in changes_in_upper(str(upper), OPAQUE, Stacked([str(lower)]))]
    assert found == ["moded", "new"]
    assert "same" in [e.path for e, _ in changes_in_upper(str(upper), OPAQUE, Stacked([]))]
