"""Owners, modes, capabilities, devices and names of what is unpacked."""

from __future__ import annotations

import io
import os
import stat
import struct

import pytest

from ocitool.errors import LayerError
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.unpack.extract import apply
from ocitool.layer.unpack.metadata import current_umask
from ocitool.layer.unpack.whiteouts import Removal
from tests.unit.layer.tars import (
    directory,
    extended,
    file,
    header,
    link,
    mine,
    record,
    symlink,
    tar,
)

#: cap_net_raw+ep, as linux/capability.h lays it out (revision 2).
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def unpack(tree, data):
    return apply(io.BytesIO(data), str(tree), Removal())


@pytest.mark.usefixtures("root_only")
def test_setuid_and_capabilities_outlive_the_change_of_owner(tree):
    members = [file("su", b"x", mode=0o6755, uid=1000, gid=1001)]
    members += [
        file("ping", b"x", mode=0o755, uid=1000, xattrs={"security.capability": CAPABILITY})
    ]
    members += [
        directory("tmp", 0o1777, uid=1000, gid=1001),
        Entry("fifo", Kind.FIFO, 0o620, 7, 8),
    ]
    members += [symlink("l", "su", uid=1000, gid=1001)]
    assert unpack(tree, tar(*members)).notes == ()
    state = (tree / "su").stat()
    assert (stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid) == (0o6755, 1000, 1001)
    assert os.getxattr(tree / "ping", "security.capability") == CAPABILITY
    state = (tree / "tmp").stat()
    assert (stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid) == (0o1777, 1000, 1001)
    state = (tree / "fifo").stat()
    assert (stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid) == (0o620, 7, 8)
    state = os.lstat(tree / "l")
    assert (state.st_uid, state.st_gid) == (1000, 1001)


@pytest.mark.usefixtures("root_only")
def test_the_owner_that_another_name_gives_takes_no_capabilities(tree):
    given = {"security.capability": CAPABILITY}
    unpack(tree, tar(file("f", b"f", xattrs=given), link("g", "f", uid=5, gid=6, mode=0o4755)))
    state = (tree / "f").stat()
    assert (state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)) == (5, 6, 0o4755)
    assert os.getxattr(tree / "f", "security.capability") == CAPABILITY


@pytest.mark.usefixtures("root_only")
def test_devices(tree):
    members = [Entry("null", Kind.CHAR, 0o666, device=(1, 3))]
    members += [
        Entry("disk", Kind.BLOCK, 0o660, gid=6, device=(8, 1)),
        link("zero", "null", mode=0o666),
    ]
    done = unpack(tree, tar(*members))
    if done.notes:
        pytest.skip(f"this machine's root may not make devices: {done.notes}")
    state = (tree / "null").stat()
    assert stat.S_ISCHR(state.st_mode)
    assert (state.st_rdev, stat.S_IMODE(state.st_mode)) == (os.makedev(1, 3), 0o666)
    assert (tree / "zero").stat().st_ino == state.st_ino
    state = (tree / "disk").stat()
    assert stat.S_ISBLK(state.st_mode)
    assert (state.st_rdev, state.st_gid) == (os.makedev(8, 1), 6)


def test_devices_that_may_not_be_made_are_left_out_with_a_note(tree, monkeypatch):
    if os.geteuid() == 0:
        real = os.mknod

        def refuse(path, mode=0o600, device=0, *, dir_fd=None):
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                raise PermissionError(1, "Operation not permitted")
            real(path, mode, device, dir_fd=dir_fd)

        monkeypatch.setattr(os, "mknod", refuse)
    members = [Entry("null", Kind.CHAR, device=(1, 3)), link("zero", "null"), file("f", b"f")]
    members += [
        Entry("disk", Kind.BLOCK, device=(8, 1)),
        Entry("fifo", Kind.FIFO),
        file(".wh.null"),
    ]
    done = unpack(tree, mine(*members))
    assert done.notes == ("device nodes were left out: this user may not make them (3 entries)",)
    assert sorted(os.listdir(tree)) == ["f", "fifo"]
    unpack(tree, mine(Entry("x", Kind.CHAR, device=(1, 3)), file("x"), link("y", "x")))
    assert (tree / "y").is_file()


@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize("own_entry", [True, False], ids=["same layer", "later layer"])
def test_nothing_takes_the_group_of_a_setgid_directory(tree, own_entry):
    setgid = directory("d", 0o2775, gid=50)
    inside = [file("d/f", b"f"), symlink("d/s", "f"), directory("d/d"), Entry("d/p", Kind.FIFO)]
    if own_entry:
        unpack(tree, tar(setgid, *inside))
    else:
        unpack(tree, tar(setgid))
        unpack(tree, tar(*inside, file("d/i/n")))
    groups = {path.name: path.lstat().st_gid for path in (tree / "d").iterdir()}
    assert set(groups.values()) == {0}, groups
    assert (tree / "d").stat().st_gid == 50


def test_an_owner_that_one_may_not_give_is_explained(tree):
    if os.geteuid() == 0:
        pytest.skip("root may give any")
    with pytest.raises(LayerError, match="not mapped for this user") as caught:
        unpack(tree, tar(file("f", uid=12345, gid=12345)))
    assert "subuid" in caught.value.hint


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_umask_has_no_say(tree, umask):
    before = os.umask(umask)
    try:
        assert current_umask() == umask
        unpack(tree, mine(directory("d", 0o777), file("d/f", b"f", mode=0o666), file("i/n")))
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE((tree / path).stat().st_mode) for path in ("d", "d/f", "i")}
    assert modes == {"d": 0o777, "d/f": 0o666, "i": 0o755}


def test_names_are_bytes(tree):
    unpack(tree, mine(file("caf\udce9", b"1"), symlink("new\nline", "caf\udce9"), file("é", b"2")))
    names = sorted(os.listdir(os.fsencode(tree)))
    assert names == [b"caf\xe9", b"new\nline", "é".encode()]
    assert (tree / "new\nline").read_bytes() == b"1"


def test_user_attributes_of_files_and_directories(tree):
    values = {"user.a": b"\0\xff", "user.empty": b""}
    try:
        unpack(
            tree, mine(file("f", b"f", mode=0o444, xattrs=values), directory("d", xattrs=values))
        )
        os.setxattr(tree, "user.probe", b"")
    except OSError as error:
        pytest.skip(f"needs a file system with user attributes: {error}")
    for name in ("f", "d") if os.geteuid() == 0 else ("d",):
        found = {a: os.getxattr(tree / name, a) for a in os.listxattr(tree / name)}
        assert found == values


def test_the_top_of_the_tree_takes_attributes_too(tree):
    unpack(tree, mine(directory("", 0o711, mtime=5 * 10**9), file("f")))
    state = tree.stat()
    assert (stat.S_IMODE(state.st_mode), state.st_mtime_ns) == (0o711, 5 * 10**9)


def test_times_to_the_nanosecond_and_before_the_epoch(tree):
    own = {"uid": b"%o" % os.geteuid(), "gid": b"%o" % os.getegid()}
    exact = extended(record(b"mtime", b"5.123456789")) + header(b"exact", **own)
    unpack(tree, exact + mine(file("old", mtime=-(10**9))))
    assert (tree / "exact").stat().st_mtime_ns == 5_123456789
    assert (tree / "old").stat().st_mtime_ns == -(10**9)


def test_what_was_unpacked_is_counted(tree):
    done = unpack(
        tree, mine(directory("d"), file("d/f", b"12345"), link("l", "d/f"), file(".wh.x"))
    )
    assert (done.entries, done.size, done.notes) == (4, 5, ())


#: linux/posix_acl_xattr.h: everything for the owner, for user 1234 and the mask, r-x for the group.
DEFAULT_ACL = bytes.fromhex(
    "0200000001000700ffffffff02000700d204000004000500ffffffff10000700ffffffff20000000ffffffff"
)


def test_nothing_comes_from_the_directory_that_a_file_is_in(stack):
    given = {"system.posix_acl_default": DEFAULT_ACL}
    stack.apply(directory("d", xattrs=given), file("d/f", mode=0o640), file("e/f"))
    stack.apply(file("d/g", mode=0o604), directory("d/s", 0o705), symlink("d/l", "f"))
    stack.apply(directory("e", xattrs=given), file("e/g", mode=0o666), link("h", "d/f", mode=0o640))
    modes = {"d/f": 0o640, "d/g": 0o604, "d/s": 0o705, "e/g": 0o666, "h": 0o640}
    for path, mode in modes.items():
        assert os.lstat(stack.place(path)).st_mode & 0o7777 == mode
        assert [*os.listxattr(stack.place(path))] == []
    for path in ("d", "e"):
        assert os.getxattr(stack.place(path), "system.posix_acl_default") == DEFAULT_ACL
    stack.apply(directory("d"), file("d/k"))
    assert [*os.listxattr(stack.place("d"))] == []


@pytest.mark.parametrize("size", [5000, 65_535])
def test_a_large_attribute_is_kept_or_refused_by_name(stack, size):
    members = file("f", xattrs={"user.large": b"x" * size}), symlink("l", "f")
    try:
        stack.apply(*members)
    except LayerError as error:
        assert not stack.erofs
        assert f"user.large of {size} bytes" in error.message
        assert error.where == "f"
    else:
        assert os.getxattr(stack.place("f"), "user.large") == b"x" * size
