"""Ownership override xattrs: what is written, what is believed, and what does not fit."""

from __future__ import annotations

import os
import stat

import pytest

from ocitool.errors import LayerError
from ocitool.layer import xattrs
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.ownership import (
    CHILDREN,
    OWNER,
    KernelOwnership,
    XattrOwnership,
    copy_records,
    current,
)

LARGEST = (1 << 32) - 2


@pytest.fixture
def tree(tmp_path):
    try:
        os.setxattr(tmp_path, OWNER, b"0:0")
    except OSError as error:
        pytest.skip(f"needs a file system with user attributes: {error}")
    return tmp_path


@pytest.fixture
def in_xattrs():
    return XattrOwnership()


def seen(in_xattrs, place):
    state = in_xattrs.effective(str(place), os.lstat(place))
    return state.st_uid, state.st_gid


def link(in_xattrs, place, uid, gid, mtime=5):
    if not os.path.lexists(place):
        os.symlink("x", place)
    in_xattrs.give_node(str(place), Entry("", Kind.SYMLINK, uid=uid, gid=gid, mtime=mtime))


def test_files_and_directories(tree, in_xattrs):
    for name, make in (("f", os.mknod), ("d", os.mkdir)):
        make(tree / name)
        assert seen(in_xattrs, tree / name) == (0, 0)
        fd = os.open(tree / name, os.O_RDONLY)
        in_xattrs.give(fd, LARGEST, 7)
        in_xattrs.give(fd, 33, LARGEST)
        os.close(fd)
        assert seen(in_xattrs, tree / name) == (33, LARGEST)


def test_the_rest_of_a_state_is_as_it_was(tree, in_xattrs):
    (tree / "f").write_bytes(b"content")
    os.utime(tree / "f", ns=(3, 1_234_567_890_123_456_789))
    state = os.lstat(tree / "f")
    found = in_xattrs.effective(str(tree / "f"), state)
    names = [name for name in dir(state) if name.startswith("st_")]
    for name in set(names) - {"st_uid", "st_gid", "st_blocks", "st_blksize"}:
        assert getattr(found, name) == getattr(state, name), name


@pytest.mark.parametrize(
    "record",
    [b"", b"1", b"1:2:", b"-1:2", b"4294967295:1", b"1:99999999999", b"1:2:x:1:1", b" 1:2",
     b"1:2\n", b"1:2:c:1", "\u0661:2".encode()],
)  # fmt: skip
def test_what_is_no_record_is_not_believed(tree, in_xattrs, record):
    (tree / "f").touch()
    os.setxattr(tree / "f", OWNER, record)
    assert seen(in_xattrs, tree / "f") == (0, 0)
    assert stat.S_ISREG(in_xattrs.effective(str(tree / "f"), os.lstat(tree / "f")).st_mode)


def test_a_record_never_makes_a_whiteout_nor_a_device_of_a_directory(tree, in_xattrs):
    (tree / "f").touch()
    (tree / "d").mkdir()
    os.setxattr(tree / "f", OWNER, b"1:2:c:0:0")
    os.setxattr(tree / "d", OWNER, b"1:2:c:1:3")
    assert stat.S_ISREG(in_xattrs.effective(str(tree / "f"), os.lstat(tree / "f")).st_mode)
    assert stat.S_ISDIR(in_xattrs.effective(str(tree / "d"), os.lstat(tree / "d")).st_mode)


def test_a_device_is_an_empty_file(tree, in_xattrs):
    fd = os.open(tree, os.O_RDONLY)
    in_xattrs.make_device("null", stat.S_IFCHR | 0o666, os.makedev(1, 3), fd)
    in_xattrs.give_node("null", Entry("", Kind.CHAR, 0o666, 5, 6, device=(1, 3)), fd)
    with pytest.raises(FileExistsError):
        in_xattrs.make_device("null", stat.S_IFBLK, os.makedev(1, 3), fd)
    os.close(fd)
    state = in_xattrs.effective(str(tree / "null"), os.lstat(tree / "null"))
    assert stat.S_ISCHR(state.st_mode)
    assert (state.st_rdev, state.st_uid, state.st_gid) == (os.makedev(1, 3), 5, 6)
    assert stat.S_ISREG(os.lstat(tree / "null").st_mode)


def test_links_and_pipes_are_known_by_name_and_time(tree, in_xattrs):
    link(in_xattrs, tree / "one", 33, 44)
    link(in_xattrs, tree / "two", 33, 44)
    os.mkfifo(tree / "pipe")
    in_xattrs.give_node(str(tree / "pipe"), Entry("", Kind.FIFO, uid=1, gid=2, mtime=9))
    assert [seen(in_xattrs, tree / name) for name in ("one", "two")] == [(33, 44)] * 2
    assert seen(in_xattrs, tree / "pipe") == (1, 2)
    (tree / "one").unlink()
    (tree / "one").symlink_to("x")
    assert seen(in_xattrs, tree / "one") == (0, 0)
    os.rename(tree / "two", tree / "other")
    assert seen(in_xattrs, tree / "other") == (0, 0)


def test_the_last_owner_of_a_link_counts(tree, in_xattrs):
    for owner in ((1, 2), (3, 4), (0, 0), (5, 6), (5, 6)):
        link(in_xattrs, tree / "l", *owner)
        assert seen(in_xattrs, tree / "l") == owner
    assert len(os.getxattr(tree, CHILDREN)) == 16
    link(in_xattrs, tree / "l", 0, 0)
    assert os.getxattr(tree, CHILDREN) == b""


@pytest.mark.parametrize("data", [b"x", b"\xff" * 40, b"\1\0\0\0" * 3, b"\0" * 12])
def test_what_a_container_wrote_of_links_harms_nobody(tree, in_xattrs, data):
    os.setxattr(tree, CHILDREN, data)
    (tree / "l").symlink_to("x")
    assert seen(in_xattrs, tree / "l") == (0, 0)
    link(in_xattrs, tree / "l", 1, 2)
    assert seen(in_xattrs, tree / "l") == (1, 2)


@pytest.mark.slow
def test_more_links_than_a_directory_has_room_for_are_refused_by_name(tree, in_xattrs):
    at = 0
    with pytest.raises(LayerError, match="more links with an ownership override") as caught:
        for at in range(20_000):
            link(in_xattrs, tree / f"link{at}", 1, 2)
    assert at > 800
    assert caught.value.where == f"link{at}"
    assert "subuid" in caught.value.hint


def test_copies_take_records_along(tree, in_xattrs):
    for name in ("from", "to"):
        (tree / name).mkdir()
    os.setxattr(tree / "from", OWNER, b"7:8")
    link(in_xattrs, tree / "from/l", 1, 2)
    (tree / "to/l").symlink_to("x")
    os.utime(tree / "to/l", ns=(5, 5), follow_symlinks=False)
    copy_records(str(tree / "from"), str(tree / "to"))
    assert (seen(in_xattrs, tree / "to"), seen(in_xattrs, tree / "to/l")) == ((7, 8), (1, 2))


def test_no_layer_brings_or_gets_records(tree):
    assert xattrs.read(str(tree)) == {}
    assert xattrs.write(str(tree), {OWNER: b"1:1", "user.ocitool.x": b""}) == ()
    assert os.getxattr(tree, OWNER) == b"0:0"
    assert "user.ocitool.x" not in os.listxattr(tree)


def test_who_has_more_ids_keeps_nothing_aside(tree):
    with open("/proc/self/uid_map", encoding="ascii") as maps:
        if [line.split()[2] for line in maps] == ["1"]:
            pytest.skip("this user namespace has a single id")
    assert isinstance(current(), KernelOwnership)
    state = os.lstat(tree)
    assert current().effective(str(tree), state) is state
