"""Id maps from /etc/subuid, and programs in a user namespace."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ocitool.errors import SandboxError
from ocitool_runtime import IdMap
from ocitool_runtime.errors import MapsUnavailable
from ocitool_runtime.host.userns import userns
from ocitool_runtime.host.userns.idmap import Maps, current_maps, single_map, usable_maps
from ocitool_runtime.host.userns.setuid import obstacle
from tests.fixtures.programs import execute
from tests.fixtures.trees import remove_tree
from tests.unit.runtime.conftest import overlay


@pytest.fixture
def ranges(tmp_path, monkeypatch):
    """Return a function that gives the maps of user 4242 for a text of both files."""
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(os, "getegid", lambda: 4243)
    monkeypatch.setattr("ocitool_runtime.host.userns.idmap._find", lambda tool: f"/bin/{tool}")
    monkeypatch.setattr("ocitool_runtime.host.userns.idmap.obstacle", lambda path: "")

    def read(text):
        path = tmp_path / "sub"
        path.write_text(text)
        return current_maps(str(path), str(path))

    return read


def test_own_id_first_then_the_ranges(ranges):
    found = ranges("other:1:5\n4242:100000:65536\nnonsense\n4242:x:1\n4242:300000:10\n")
    rest = (
        IdMap(container=1, host=100000, count=65536),
        IdMap(container=65537, host=300000, count=10),
    )
    assert found.uid_maps == (IdMap(container=0, host=4242, count=1), *rest)
    assert found.gid_maps == (IdMap(container=0, host=4243, count=1), *rest)


@pytest.mark.parametrize("text", ["", "other:100000:65536\n", "4242:100000:0\n"])
def test_no_range_is_a_reason_with_a_remedy(ranges, text):
    with pytest.raises(MapsUnavailable, match="has no range for 4242") as caught:
        ranges(text)
    assert "usermod --add-subuids" in caught.value.hint


def test_no_newuidmap_is_a_reason(ranges, monkeypatch):
    monkeypatch.setattr("ocitool_runtime.host.userns.idmap._find", lambda tool: None)
    with pytest.raises(MapsUnavailable, match="newuidmap is not installed") as caught:
        ranges("4242:100000:65536\n")
    assert "install the package uidmap" in caught.value.hint


def test_root_needs_no_maps(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert current_maps() == Maps()


@pytest.fixture
def some_maps():
    if not userns.supported().ok:
        pytest.skip(f"no user namespaces here: {userns.supported().reason}")
    if os.geteuid() == 0:
        ids = (IdMap(container=0, host=0, count=1), IdMap(container=1, host=100000, count=1000))
        return Maps(uid_maps=ids, gid_maps=ids)
    return usable_maps()


def output(maps, script, **options):
    process = userns.spawn(["sh", "-c", script], maps=maps, stdout=subprocess.PIPE, **options)
    with process:
        return process.communicate(timeout=60)[0].decode()


def test_a_program_is_root_with_all_capabilities(some_maps):
    out = output(some_maps, "id -u; grep CapEff /proc/self/status; cat /proc/self/uid_map")
    uid, capabilities, *lines = out.splitlines()
    assert uid == "0"
    assert int(capabilities.split()[1], 16) >= 1 << 38
    written = [tuple(map(int, line.split())) for line in lines]
    assert written == [(m.container, m.host, m.count) for m in some_maps.uid_maps]


def test_its_mounts_are_its_own(some_maps, tmp_path):
    out = output(some_maps, f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/x && echo done")
    assert out == "done\n"
    assert list(tmp_path.iterdir()) == []
    assert f" {tmp_path} " not in Path("/proc/self/mountinfo").read_text()


def test_descriptors_environment_and_status(some_maps):
    read, write = os.pipe()
    process = userns.spawn(
        ["sh", "-c", f"echo $X > /proc/self/fd/{write}; exit 7"],
        maps=some_maps,
        pass_fds=(write,),
        env={"X": "passed", "PATH": os.environ["PATH"]},
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "passed\n"
    assert process.wait(60) == 7


def test_a_program_that_is_not_there(some_maps):
    with pytest.raises(SandboxError, match="no-such-program"):
        userns.spawn(["no-such-program"], maps=some_maps)


def test_maps_that_are_not_ours_are_refused(some_maps):
    if os.geteuid() == 0:
        ids = (IdMap(container=0, host=0, count=1), IdMap(container=0, host=9, count=1))
    else:
        ids = (IdMap(container=0, host=0, count=1),)
    with pytest.raises(SandboxError, match="map IDs"):
        userns.spawn(["true"], maps=Maps(uid_maps=ids, gid_maps=ids))


def test_a_container_in_a_user_namespace_as_root(run, image, scratch, some_maps):
    """Root may use one, too: the container's IDs belong to no user outside then."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = replace(overlay(scratch, image), options=("userxattr",))
    maps = {"uid_maps": some_maps.uid_maps, "gid_maps": some_maps.gid_maps}
    ran = run("id -u; touch /tmp/x; chmod 600 /tmp/x", user="7", rootfs=(root,), **maps)
    assert ran.ok() == "7\n"
    assert (ran.upper / "tmp/x").stat().st_uid == 100006


def test_a_container_with_a_single_id(run):
    """What is left without newuidmap: one id, and no supplementary groups."""
    if os.geteuid() == 0:
        pytest.skip("root has no such need")
    maps = {"uid_maps": single_map().uid_maps, "gid_maps": single_map().gid_maps}
    ran = run("id -u; touch /x; test -c /dev/null && test -d /dev/pts", **maps)
    assert ran.ok() == "0\n"
    assert any("supplementary groups" in note for note in ran.exit.notes)
    with pytest.raises(SandboxError) as caught:
        run("true", user="7", **maps)
    assert "/etc/subuid" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("confine", "reason"),
    [
        (("--no-new-privs",), "no_new_privs is set"),
        (("--bounding-set=-setuid",), "the capability bounding set has no CAP_SETUID"),
        (("--bounding-set=-sys_admin",), "it is setuid root, and the capability bounding set has"),
    ],
)
def test_a_user_whose_newuidmap_cannot_work_has_a_single_id(
    ordinary_user, tools_context, confine, reason
):
    user, root = ordinary_user, ordinary_user.home / "confined"
    who = ("--reuid", str(user.uid), "--regid", str(user.gid), "--clear-groups")

    def run(*words):
        command = ["setpriv", *confine, *who, user.python, "-m", "ocitool", "--root", root, *words]
        return execute(command, env=user.env, cwd=user.home).ok().stdout

    assert reason in run("info")
    run("build", "-q", "-t", "tools:1", tools_context)
    assert run("run", "--rm", "tools:1", "id", "-u") == "0\n"
    remove_tree(root)


def test_what_keeps_a_setuid_program_from_working(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    assert obstacle(str(plain)) == "it is neither setuid root nor has capabilities"
    assert obstacle("/none") == "it is neither setuid root nor has capabilities"
    if os.geteuid() == 0 and not os.statvfs(plain).f_flag & os.ST_NOSUID:
        plain.chmod(0o4755)
        assert obstacle(str(plain)) == ""
