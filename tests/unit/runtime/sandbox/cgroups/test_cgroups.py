"""A cgroup of its own for each sandbox, and nothing of the machine's to be seen."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ocitool.errors import SandboxError, SetupFailed
from ocitool_runtime import Stdio, get_isolation
from ocitool_runtime.sandbox.cgroups import cgroups
from tests.fixtures.programs import execute, python_environment

SHOWN = "cat /proc/self/cgroup; ls /sys/fs/cgroup"


def of(pid):
    """Return the cgroups of a process by their controllers."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}


def shim_of(process):
    """Return the process id of a sandbox's shim."""
    return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])


def made_by(shim):
    """Return the cgroups that a shim has made and that are there still."""
    found = (Path(path, f"ocitool.{shim}") for path, _ in cgroups.own_cgroups())
    return [path for path in found if path.exists()]


@pytest.fixture
def sleeping(make):
    """A sandbox that waits to be killed."""
    null = os.open(os.devnull, os.O_RDWR)
    process = get_isolation().start(
        make(("sleep", "1000")), Stdio(stdin=null, stdout=null, stderr=null)
    )
    yield process
    process.close()
    os.close(null)


@pytest.mark.slow
def test_a_sandbox_has_cgroups_of_its_own(own_cgroup, sleeping):
    ours, theirs = of("self"), of(sleeping.pid)
    for _, controllers in cgroups.own_cgroups():
        names = next(names for names in ours if {*filter(None, names.split(","))} == controllers)
        assert Path(theirs[names]).parent == Path(ours[names])
        assert Path(theirs[names]).name == f"ocitool.{shim_of(sleeping)}"


def test_no_cgroup_v1_is_made_that_neither_filters_nor_limits(own_cgroup, sleeping):
    """A memory cgroup stays in the kernel as long as any page that was read in it."""
    ours, theirs = of("self"), of(sleeping.pid)
    others = [names for names in ours if names and "devices" not in names.split(",")]
    assert {names: theirs[names] for names in others} == {names: ours[names] for names in others}


def test_the_shim_is_not_in_it(own_cgroup, sleeping):
    """It removes the cgroup at the end, and what it needs is not the container's."""
    assert of(shim_of(sleeping)) == of("self")


@pytest.mark.slow
def test_nothing_is_left_of_it(own_cgroup, sleeping):
    shim = shim_of(sleeping)
    assert made_by(shim)
    sleeping.close()
    assert made_by(shim) == []


@pytest.mark.alone
def test_nothing_is_left_of_a_sandbox_that_could_not_be_set_up(own_cgroup, make):
    before = {path: set(os.listdir(path)) for path, _ in cgroups.own_cgroups()}
    with pytest.raises(SetupFailed):
        get_isolation().start(make("true", cwd="/proc/none"), Stdio())
    for path, names in before.items():
        new = {name for name in os.listdir(path) if name.startswith("ocitool.")} - names
        assert all(os.path.exists(f"/proc/{name.rpartition('.')[2]}") for name in new)


@pytest.mark.alone
def test_what_a_killed_shim_leaves_is_swept_by_the_next(own_cgroup, run, sleeping):
    shim = shim_of(sleeping)
    os.kill(shim, signal.SIGKILL)
    with pytest.raises(SandboxError, match="killed"):
        sleeping.wait(60)
    assert made_by(shim)
    while any(path.exists() and (path / "cgroup.procs").read_text() for path in made_by(shim)):
        time.sleep(0.01)
    run("true").ok()
    assert made_by(shim) == []


def test_a_cgroup_in_use_or_of_another_name_is_not_swept(own_cgroup, run):
    path = next(path for path, _ in cgroups.own_cgroups())
    others = [Path(path, name) for name in ("ocitool.x", f"ocitool.{os.getpid()}", "ocitool-1")]
    for other in others:
        other.mkdir()
    try:
        run("true").ok()
        assert all(other.exists() for other in others)
    finally:
        for other in others:
            other.rmdir()


def test_the_machines_hierarchy_is_not_shown(run):
    lines = run(SHOWN).ok().splitlines()
    tree = [line for line in lines if not line[0].isdigit()]
    assert {line.rpartition(":")[2] for line in lines if line[0].isdigit()} <= {"/", "/.."}
    # Its own, without children, or none.
    assert tree == [] or "cgroup.procs" in tree
    assert not [name for name in tree if "." not in name]


def test_the_hosts_sys_shows_none_either(run):
    """In a user namespace on the host's network the host's /sys is bound."""
    assert "unified" not in run("ls /sys/fs/cgroup", network="host").ok()


@pytest.mark.slow
def test_without_a_cgroup_none_is_shown_and_devices_are_closed(root_only, tools_store, run_cli):
    """As in a container of docker's, whose cgroup tree is read-only or absent."""
    script = "ls /sys/fs/cgroup; mknod /dev/x c 10 237; (exec 3</dev/x) 2>/dev/null && echo opened"
    inner = f"{script}; echo x >/dev/null && echo null; test -c /dev/urandom && echo urandom"
    words = [sys.executable, "-m", "ocitool", "--root", tools_store, "run", "--rm", "tools:1"]
    hide = 'umount --recursive --lazy /sys/fs/cgroup; exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", hide, "-", *words, "sh", "-c", inner]
    assert execute(command, env=python_environment()).ok().stdout == "null\nurandom\n"


@pytest.mark.slow
def test_a_user_gets_one_where_it_is_delegated(root_only, ordinary_user, run_cli, tools_context):
    unified = [path for path, controllers in cgroups.own_cgroups() if not controllers]
    if not unified:
        pytest.skip("needs cgroup v2")
    delegated = Path(unified[0]) / f"delegated-{os.getpid()}"
    delegated.mkdir()
    try:
        for path in (delegated, delegated / "cgroup.procs", delegated / "cgroup.subtree_control"):
            os.chown(path, ordinary_user.uid, ordinary_user.gid)
        root = ordinary_user.home / "cgroup-store"
        run_cli("build", "-q", "-t", "tools:1", tools_context, root=root, user=ordinary_user).ok()
        (delegated / "cgroup.procs").write_text(str(os.getpid()))
        try:
            script = "cat /sys/fs/cgroup/cgroup.procs"
            words = ("--root", root, "run", "--rm", "tools:1", "sh", "-c", script)
            # Not forked from a process that is in another cgroup.
            ran = ordinary_user.run(ordinary_user.python, "-m", "ocitool", *words).ok()
        finally:
            (Path(unified[0]) / "cgroup.procs").write_text(str(os.getpid()))
        assert "1" in ran.stdout.split()
    finally:
        delegated.rmdir()


@pytest.mark.slow
@pytest.mark.parametrize("access", ["rw", "rwm"])
def test_a_device_policy_of_the_caller_is_kept(root_only, run, access):
    """As of systemd with DevicePolicy=strict: devices may be opened, and perhaps not made."""
    found = [path for path, controllers in cgroups.own_cgroups() if "devices" in controllers]
    if not found:
        pytest.skip("needs the v1 controller devices")
    policy = Path(found[0]) / f"policy-{os.getpid()}"
    policy.mkdir()
    try:
        (policy / "devices.deny").write_text("a")
        for device in ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2", "136:*"):
            (policy / "devices.allow").write_text(f"c {device} {access}")
        (policy / "cgroup.procs").write_text(str(os.getpid()))
        try:
            made = "mknod /dev/x c 10 237; (exec 3</dev/x) 2>/dev/null && echo opened; true"
            assert run("cat /dev/null && echo x > /dev/null && (exec 3<>/dev/ptmx)").ok() == ""
            assert run(f"({made}) 2>/dev/null").ok() == ""
        finally:
            (Path(found[0]) / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        policy.rmdir()
