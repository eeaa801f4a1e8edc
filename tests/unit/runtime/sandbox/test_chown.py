"""chown and mknod in single-ID mode: recorded in xattrs, and nothing outside is touched."""

from __future__ import annotations

import os
import stat
import struct
from functools import partial

import pytest

from ocitool.errors import SandboxError
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.ownership import XattrOwnership
from ocitool_runtime import Mount, Sandbox
from ocitool_runtime.defaults import Rlimit
from ocitool_runtime.host import seccomp
from ocitool_runtime.host.plan import make_plan
from ocitool_runtime.sandbox.single_id import ownership
from tests.unit.runtime.single_id import HEAD, OLD_KERNEL, OWNER, RUN, outcome, recorded

pytestmark = pytest.mark.slow


@pytest.fixture
def run(rangeless_user):
    """Return a function that runs code in a container and returns what was recorded."""
    return partial(recorded, rangeless_user)


def test_owners_are_recorded(run):
    found = run(
        "os.chown('/f', 33, 44); os.chown('d', 5, 6); os.chown('/d', -1, 7)\n"
        "fd = os.open('/d/f', os.O_RDONLY); os.fchown(fd, 1, -1); os.fchown(fd, -1, 2)\n"
        "d = os.open('/d', os.O_RDONLY); os.chown('f', 3, -1, dir_fd=d)\n"
        "os.chown('/usr/../f', 34, -1); assert libc.fchownat(77, b'/d', 8, -1, 0) == 0\n"
    )
    assert found == {
        ("/root/f", OWNER): b"34:44", ("/root/d", OWNER): b"8:7", ("/root/d/f", OWNER): b"3:2",
    }  # fmt: skip


def test_a_change_of_owner_clears_setuid_as_the_kernel_does(run):
    run("os.chmod('/f', 0o6755); os.chown('/f', 33, 44)\n"
        "assert os.stat('/f').st_mode & 0o7777 == 0o755")  # fmt: skip


def test_links_and_pipes_are_recorded_in_their_directory(run):
    found = run(
        "os.symlink('f', '/l'); os.lchown('/l', 33, 44); os.mkfifo('/d/p')\n"
        "os.chown('/d/p', 1, 2)\n"
        "os.symlink('nowhere', '/x'); fails(errno.ENOENT, os.chown, '/x', 1, 1)\n"
        "os.chown('/l', 5, 6)\n"
    )
    assert found.keys() == {
        ("/root", "user.ocitool.children"), ("/root/d", "user.ocitool.children"),
        ("/root/f", OWNER),
    }  # fmt: skip
    assert found["/root/f", OWNER] == b"5:6"
    assert found["/root", "user.ocitool.children"][:12] == bytes(
        [33, 0, 0, 0, 44, 0, 0, 0, 1, 0, 0, 0]
    )


def test_devices_are_empty_files(run):
    found = run(
        "os.umask(0o027); os.mknod('/null', stat.S_IFCHR | 0o666, os.makedev(1, 3))\n"
        "os.mknod('/d/disk', stat.S_IFBLK | 0o600, os.makedev(259, 70000))\n"
        "for found in (os.stat('/null'), os.lstat('/null'), os.stat(os.open('/null', 0))):\n"
        "    assert found.st_mode == stat.S_IFCHR | 0o640\n"
        "    assert found.st_rdev == os.makedev(1, 3)\n"
        "fails(errno.EEXIST, os.mknod, '/null', stat.S_IFCHR | 0o666, os.makedev(1, 3))\n"
        "os.chown('/null', 5, -1); os.mknod('/plain'); os.mkfifo('/pipe')\n"
        "fails(errno.ENOENT, os.mknod, '/no/null', stat.S_IFCHR, os.makedev(1, 3))\n"
    )
    assert found == {
        ("/root/null", OWNER): b"5:0:c:1:3", ("/root/d/disk", OWNER): b"0:0:b:259:70000",
    }  # fmt: skip


def test_another_user_is_refused_where_the_kernel_notifies_nobody(rangeless_user):
    user = rangeless_user
    done = user.run(user.python, "-c", OLD_KERNEL + RUN, HEAD, "7")
    assert done.code == 1
    assert "cannot drop privileges: 7:0: Invalid argument" in done.stderr


def test_a_kernel_that_notifies_nobody_is_noted(rangeless_user):
    user = rangeless_user
    code = HEAD + "fails(errno.EINVAL, os.chown, '/f', 5, 5)"
    _, notes, found = outcome(user, OLD_KERNEL + RUN, code)
    assert found == {}
    assert any("setuid are refused: this kernel has no seccomp notifications" in n for n in notes)


def test_only_a_single_id_hands_such_calls_over():
    notify = struct.pack("<I", seccomp.NOTIFY)
    given = seccomp.program(frozenset({"CAP_CHOWN"}), "x86_64", single_id=True)
    assert given is not None and notify in given
    assert notify not in (seccomp.program(frozenset({"CAP_CHOWN"}), "x86_64") or b"")


def test_without_capabilities_root_gives_nothing_away(rangeless_user):
    user = rangeless_user
    code = (
        "fails(errno.EPERM, os.chown, '/f', 5, 5); fails(errno.EPERM, os.setuid, 5)\n"
        "fails(errno.EPERM, os.setgroups, [5]); fails(errno.EPERM, os.setgid, 5)\n"
        "fails(errno.EPERM, os.mknod, '/null', stat.S_IFCHR | 0o666, os.makedev(1, 3))\n"
    )
    run = RUN.replace("owners_aside=True,", "owners_aside=True, capabilities=(),")
    _, _, found = outcome(user, run, HEAD + code)
    assert found == {}


def test_owners_aside_need_the_filter():
    sandbox = Sandbox(
        rootfs=(Mount(type="bind", source="/"),), args=("true",), owners_aside=True, seccomp=False
    )
    with pytest.raises(SandboxError, match="need the seccomp filter"):
        make_plan(sandbox)


def test_the_limit_that_keeps_ids_cannot_be_set():
    sandbox = Sandbox(
        rootfs=(Mount(type="bind", source="/"),),
        args=("true",),
        owners_aside=True,
        rlimits=(Rlimit(name="locks", soft=5, hard=10),),
    )
    with pytest.raises(SandboxError, match="limit locks is not supported"):
        make_plan(sandbox)


@pytest.mark.parametrize("ids", [(33, 44), (-1, 44), (33, -1), (0, 0)])
def test_what_is_recorded_is_what_a_driver_reads(tmp_path, ids):
    """The layers' room and the runtime's share the form, and no code."""
    try:
        os.setxattr(tmp_path, OWNER, b"7:8")
    except OSError as error:
        pytest.skip(f"needs a file system with user attributes: {error}")
    (tmp_path / "l").symlink_to("x")
    in_xattrs = XattrOwnership()
    mtime = os.lstat(tmp_path / "l").st_mtime_ns
    in_xattrs.give_node(str(tmp_path / "l"), Entry("", Kind.SYMLINK, uid=7, gid=8, mtime=mtime))
    os.mknod(tmp_path / "null")
    null = os.open(tmp_path / "null", os.O_RDONLY)
    ownership.make_device(null, "b", 4095, 1_048_575)
    uid, gid = (one & 0xFFFFFFFF for one in ids)
    top = os.open(tmp_path, os.O_RDONLY)
    ownership.give(top, uid, gid)
    ownership.give(null, uid, gid)
    ownership.give_child(top, b"l", mtime, uid, gid)
    for fd in (null, top):
        os.close(fd)
    wanted = (7 if ids[0] == -1 else ids[0], 8 if ids[1] == -1 else ids[1])
    for name in (".", "l"):
        place = str(tmp_path / name)
        state = in_xattrs.effective(os.path.normpath(place), os.lstat(place))
        assert (state.st_uid, state.st_gid) == wanted
    state = in_xattrs.effective(str(tmp_path / "null"), os.lstat(tmp_path / "null"))
    assert stat.S_ISBLK(state.st_mode)
    assert state.st_rdev == os.makedev(4095, 1_048_575)
