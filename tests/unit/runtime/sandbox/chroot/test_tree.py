"""What a chroot has in place of the image's own entries leaves no trace in its tree."""

from __future__ import annotations

import os
import shutil
import stat

import pytest

from ocitool_runtime.sandbox.chroot.tree import Tree

pytestmark = pytest.mark.usefixtures("root_only")  # a chroot is root's, and owners are set

HOSTS = [{"target": "/etc/hosts", "content": b"ours"}]


@pytest.fixture
def top(tmp_path):
    """A tree with a /dev, an /etc, and times of long ago."""
    top = tmp_path / "snapshot" / "fs"
    (top / "dev").mkdir(parents=True)
    (top / "dev/null").write_text("the image's")
    (top / "etc").mkdir()
    (top / "etc/hosts").write_text("theirs")
    return top


def state(top):
    """Everything that a layer says of the tree, once all times are old."""
    found = {}
    for path in sorted([top, *top.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        target = os.readlink(path) if path.is_symlink() else None
        found[str(path.relative_to(top))] = (
            status.st_mode, status.st_mtime_ns, status.st_ino, content, target
        )  # fmt: skip
    return found


def aged(top):
    for path in sorted([top, *top.rglob("*")], reverse=True):
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)
    return state(top)


def test_nothing_is_left(top):
    before = aged(top)
    tree = Tree(str(top))
    os.close(os.open("node", os.O_CREAT | os.O_WRONLY, dir_fd=tree.directory("dev")))
    tree.directory("proc")
    tree.files(HOSTS)
    assert (top / "etc/hosts").read_text() == "ours"
    assert os.listdir(top / "dev") == ["node"]
    assert (top.stat().st_mtime_ns, (top / "etc").stat().st_mtime_ns) == (10**18, 10**18)
    tree.restore()
    assert state(top) == before
    assert os.listdir(top.parent) == ["fs"]


def test_what_a_program_did_to_them_has_no_effect(top):
    before = aged(top)
    tree = Tree(str(top))
    tree.directory("dev")
    tree.directory("sys")
    tree.files(HOSTS)
    (top / "etc/hosts").unlink()
    (top / "etc/hosts").symlink_to("/elsewhere")
    shutil.rmtree(top / "dev")
    (top / "dev").write_text("a file")
    (top / "sys/deep/down").mkdir(parents=True)
    tree.restore()
    after = state(top)
    for changed in (".", "etc"):  # their times are those of the program
        assert after.pop(changed)[1] > before.pop(changed)[1]
    assert after == before


def test_directories_that_were_missing_are_removed_if_they_are_empty(tmp_path):
    top = tmp_path / "snapshot" / "fs"
    top.mkdir(parents=True)
    before = aged(top)
    tree = Tree(str(top))
    tree.files(HOSTS)
    assert (top / "etc/hosts").read_text() == "ours"
    tree.restore()
    assert state(top) == before

    tree = Tree(str(top))
    tree.files(HOSTS)
    (top / "etc/passwd").write_text("made by the program")
    tree.restore()
    assert os.listdir(top / "etc") == ["passwd"]


@pytest.mark.parametrize("target", ["/usr/etc", "usr/etc", "../../usr/etc"])
def test_links_to_a_directory_are_those_of_the_tree(top, target):
    shutil.rmtree(top / "etc")
    (top / "usr/etc").mkdir(parents=True)
    (top / "etc").symlink_to(target)
    before = aged(top)
    tree = Tree(str(top))
    tree.files(HOSTS)
    assert (top / "usr/etc/hosts").read_text() == "ours"
    tree.restore()
    assert state(top) == before


@pytest.mark.parametrize("target", ["/nowhere", "loop", "/etc"])
def test_links_that_lead_nowhere_get_no_files(top, target):
    shutil.rmtree(top / "etc")
    (top / "etc").symlink_to(target)
    (top / "loop").symlink_to("loop")
    before = aged(top)
    tree = Tree(str(top))
    tree.files(HOSTS)
    tree.restore()
    assert state(top) == before


@pytest.mark.parametrize("target", ["..", "/", "/etc", "nowhere"])
def test_a_link_in_place_of_dev_leads_nowhere_else(top, target):
    shutil.rmtree(top / "dev")
    (top / "dev").symlink_to(target)
    before = aged(top)
    tree = Tree(str(top))
    os.close(os.open("node", os.O_CREAT | os.O_WRONLY, dir_fd=tree.directory("dev")))
    assert (top / "dev/node").exists()
    assert not (top / "dev").is_symlink()
    tree.restore()
    assert state(top) == before


def test_a_directory_that_the_program_has_put_in_its_place_stays(tmp_path):
    top = tmp_path / "snapshot" / "fs"
    top.mkdir(parents=True)
    tree = Tree(str(top))
    tree.files(HOSTS)
    (top / "etc").rename(top / "moved")
    (top / "etc").mkdir()
    tree.restore()
    assert sorted(os.listdir(top)) == ["etc", "moved"]
    assert os.listdir(top / "moved") == []


def file_plan(target, content=b"topsecret", *options):
    """The plan of a file in memory, as a chroot gets it."""
    return {"type": "file", "target": target, "content": content, "options": list(options)}


@pytest.mark.parametrize(
    "target",
    [
        "/run/secrets/x",
        "/x",
        "/etc/hosts",
        "/etc/new/x",
        "/link/x",
        "/dangling",
        "/to-hosts",
    ],
)
def test_a_file_that_is_placed_leaves_nothing(top, target):
    (top / "link").symlink_to("/etc")
    (top / "dangling").symlink_to("nowhere")
    (top / "to-hosts").symlink_to("etc/hosts")
    before = aged(top)
    tree = Tree(str(top))
    tree.place(file_plan(target))
    inside = top / target.replace("/link/", "/etc/").lstrip("/")
    assert inside.read_bytes() == b"topsecret" and inside.stat().st_mode & 0o777 == 0o600
    tree.restore()
    assert state(top) == before


def test_what_was_moved_or_linked_of_a_file_is_empty(top):
    tree = Tree(str(top))
    tree.place(file_plan("/run/a"))
    tree.place(file_plan("/run/b"))
    os.link(top / "run/a", top / "linked")
    os.rename(top / "run/b", top / "moved")
    tree.restore()
    assert (top / "linked").read_bytes() == b"" == (top / "moved").read_bytes()
    assert not (top / "run").exists()


@pytest.mark.slow
def test_directories_of_any_depth_that_replace_a_file_are_removed(top):
    """What comes after it is moved back: a cache would be lost otherwise."""
    before = sorted(os.listdir(top))
    tree = Tree(str(top))
    tree.place(file_plan("/x"))
    (top / "x").unlink()
    (top / "x").mkdir()
    inside = os.open(top / "x", os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("deep", 0o700, dir_fd=inside)
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=inside))
        below = os.open("deep", os.O_RDONLY, dir_fd=inside)
        os.close(inside)
        inside = below
    os.fchmod(inside, 0)
    os.close(inside)
    tree.restore()
    assert sorted(os.listdir(top)) == before and not (top.parent / "aside").exists()


def test_a_directory_of_the_program_stays_where_a_file_was_placed(top):
    tree = Tree(str(top))
    tree.place(file_plan("/run/secrets/x"))
    (top / "run/own").write_text("its own")
    tree.restore()
    assert sorted(str(path.relative_to(top)) for path in (top / "run").rglob("*")) == ["run/own"]


@pytest.mark.slow
def test_a_file_cannot_be_placed_in_proc_or_through_a_file(top):
    tree = Tree(str(top))
    tree.close_off(tree.directory("proc"))
    for wrong in ("/proc/self/x", "/etc/hosts/x"):
        with pytest.raises(OSError):
            tree.place(file_plan(wrong))
    tree.restore()


@pytest.fixture
def given(tmp_path):
    """A directory beside the tree, as the store has for a mount."""
    given = tmp_path / "given"
    given.mkdir()
    (given / "f").write_text("given")
    return given


def moved(given, target):
    return {"type": "bind", "source": str(given), "target": target}


@pytest.mark.parametrize("target", ["/etc", "/x", "/x/y/z"])
def test_a_directory_is_moved_in_and_back(top, given, target):
    before, inside = aged(top), (given.stat().st_ino, os.listdir(given))
    tree = Tree(str(top))
    tree.move(moved(given, target))
    assert (top / target[1:] / "f").read_text() == "given" and not given.exists()
    tree.restore()
    assert state(top) == before
    assert (given.stat().st_ino, os.listdir(given)) == inside


@pytest.mark.parametrize(
    ("link", "place"),
    [("x/d", "x/d"), ("/x", "x"), ("../../x/d", "x/d"), ("again", "x"), ("gone", "gone")],
)
def test_the_last_name_may_be_a_link_which_is_followed_as_for_a_mount(top, given, link, place):
    (top / "x/d").mkdir(parents=True)
    (top / "again").symlink_to("x")
    (top / "link").symlink_to(link)
    before = aged(top)
    tree = Tree(str(top))
    tree.move(moved(given, "/link"))
    assert os.readlink(top / "link") == link
    assert (top / place / "f").read_text() == "given"
    tree.restore()
    assert state(top) == before and os.listdir(given) == ["f"]


@pytest.mark.parametrize("link", ["/", ".", "x/.."])
def test_a_link_to_a_directory_that_cannot_be_moved_is_replaced(top, given, link):
    (top / "x").mkdir()
    (top / "link").symlink_to(link)
    before = aged(top)
    tree = Tree(str(top))
    tree.move(moved(given, "/link"))
    assert (top / "link/f").read_text() == "given"
    tree.restore()
    assert state(top) == before


def test_a_file_and_a_directory_are_not_put_in_place_of_each_other(top, given):
    before = aged(top)
    tree = Tree(str(top))
    with pytest.raises(OSError, match="Not a directory: '/etc/hosts'"):
        tree.move(moved(given, "/etc/hosts"))
    with pytest.raises(OSError, match="Is a directory: '/etc'"):
        tree.move(moved(given / "f", "/etc"))
    with pytest.raises(OSError, match="Is a directory: '/etc'"):
        tree.place(file_plan("/etc"))
    tree.restore()
    assert state(top) == before and os.listdir(given) == ["f"]


def test_links_to_each_other_and_to_proc_are_refused(top, given):
    (top / "loop").symlink_to("loop")
    (top / "link").symlink_to("/proc")
    tree = Tree(str(top))
    tree.close_off(tree.directory("proc"))
    for wrong in ("/loop", "/link", "/proc"):
        with pytest.raises(OSError):
            tree.move(moved(given, wrong))
    tree.restore()
    assert os.listdir(given) == ["f"]


def test_what_is_written_there_is_moved_back_and_what_is_beside_it_stays(top, given):
    tree = Tree(str(top))
    tree.move(moved(given, "/x/y"))
    (top / "x/y/new").write_text("new")
    (top / "x/beside").write_text("beside")
    tree.restore()
    assert (given / "new").read_text() == "new"
    assert os.listdir(top / "x") == ["beside"]


def test_one_directory_for_two_targets(top, given):
    before = aged(top)
    tree = Tree(str(top))
    tree.move(moved(given, "/a"))
    tree.move(moved(given, "/b/c"))
    assert os.readlink(top / "b/c") == "/a"
    tree.restore()
    assert state(top) == before and os.listdir(given) == ["f"]


def test_a_directory_inside_another(top, given, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    before = aged(top)
    tree = Tree(str(top))
    tree.move(moved(given, "/a"))
    tree.move(moved(inner, "/a/b/c"))
    assert (top / "a/b/c").is_dir()
    tree.restore()
    assert state(top) == before
    assert inner.is_dir() and os.listdir(given) == ["f"]


def test_what_a_program_puts_in_its_place_is_moved_back(top, given):
    before = aged(top)
    tree = Tree(str(top))
    tree.move(moved(given, "/a"))
    shutil.rmtree(top / "a")
    (top / "a").mkdir()
    (top / "a/other").write_text("")
    tree.restore()
    os.utime(top, ns=(10**18, 10**18))  # the program has changed it
    assert state(top) == before
    assert os.listdir(given) == ["other"]


def test_something_else_in_its_place_is_not_moved_back(top, given):
    tree = Tree(str(top))
    tree.move(moved(given, "/a"))
    shutil.rmtree(top / "a")
    (top / "a").symlink_to("/etc")
    tree.restore()
    assert not given.exists() and not os.path.lexists(top / "a")
    assert os.listdir(top / "etc") == ["hosts"]
