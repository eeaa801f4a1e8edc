"""Sandboxes under threads, and when what keeps them is killed."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocitool.errors import SandboxError
from ocitool_runtime import Stdio, get_isolation
from tests.fixtures.programs import CHECKOUT, python_environment
from tests.unit.runtime.conftest import finish, overlay

OWNER_PROGRAM = """
import pickle, sys
from ocitool_runtime import Stdio, get_isolation
process = get_isolation().start(pickle.loads(bytes.fromhex(sys.argv[1])), Stdio())
print(process.pid, process._shim.process.pid, flush=True)
process.wait()
"""


@pytest.fixture
def start_owner(make):
    """Start a program that has a sandbox; give (it, pidfd of the container init, of the shim)."""
    started = []

    def start(**fields):
        words = pickle.dumps(make(("sleep", "1000"), **fields)).hex()
        process = subprocess.Popen(
            [sys.executable, "-c", OWNER_PROGRAM, words],
            env=python_environment(),
            stdout=subprocess.PIPE,
        )
        started.append(process)
        pid, shim = map(int, process.stdout.readline().split())
        return process, os.pidfd_open(pid), os.pidfd_open(shim)

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def ends(handle):
    """Wait for the end of a process that is not our child."""
    try:
        return bool(select.select([handle], [], [], 60)[0])
    finally:
        os.close(handle)


@pytest.mark.slow
@pytest.mark.parametrize("init", [False, True])
def test_kill_9_of_the_parent_ends_the_container_and_cleans_up(start_owner, scratch, init):
    process, first, shim = start_owner(init=init)
    process.kill()
    assert ends(first)
    assert ends(shim)
    left = [path.name for path in (scratch / "upper").rglob("*")]
    assert [name for name in left if name != "etc"] == []


@pytest.mark.slow
@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize("user", ["", "ann"])
def test_kill_9_of_the_shim_ends_the_container(start_owner, init, user):
    _, first, shim = start_owner(init=init, user=user)
    signal.pidfd_send_signal(shim, signal.SIGKILL)
    assert ends(first)
    assert ends(shim)


def test_a_killed_shim_is_an_error(make):
    process = get_isolation().start(make(("sleep", "1000")), Stdio())
    process._shim.process.kill()
    with pytest.raises(SandboxError, match="was killed"):
        process.wait(60)
    process.close()


def _children():
    """The processes, ended ones as well, that this thread has begun."""
    with open("/proc/thread-self/children", encoding="ascii") as file:
        return file.read().split()


@pytest.mark.campaign
@pytest.mark.slow
def test_nothing_is_left_of_a_hundred(mount_table, make):
    """No mount, process or descriptor, whether they end, fail or are killed."""
    mounts, ours = mount_table(), _children()
    get_isolation().start(make("true"), Stdio()).wait()
    before = os.listdir("/proc/self/fd")
    for number in range(25):
        get_isolation().start(make(f"exit {number}"), Stdio()).wait()
        get_isolation().start(make(("nowhere",), terminal=True), Stdio()).wait()
        get_isolation().start(make(("sleep", "1000")), Stdio()).close()
        with pytest.raises(SandboxError):
            get_isolation().start(make("true", user="nobody-knows"), Stdio())
    assert os.listdir("/proc/self/fd") == before
    assert mount_table() == mounts
    assert _children() == ours


@pytest.mark.slow
def test_many_at_once_from_threads(image, session_tree, make):
    def one(number):
        place = session_tree / f"thread-{number}"
        place.mkdir()
        sandbox = make(f"echo {number}; exit {number}", rootfs=(overlay(place, image),))
        ran = finish(sandbox, place)
        return ran.code, ran.out

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(24))) == [(n, f"{n}\n") for n in range(24)]


def test_the_old_way_to_mount_an_overlay(image, scratch, maps):
    """Kernels before 6.5 know neither ``lowerdir+`` nor layers by descriptor."""
    from ocitool_runtime.host.userns import userns

    (scratch / "top").mkdir()
    (scratch / "top/file").touch()
    root = overlay(scratch, scratch / "top", image)
    code = f"""
import os, sys
sys.path[:0] = {[str(CHECKOUT), str(CHECKOUT / "runtime")]}
from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.rootfs import mounts
def refuse(*_):
    raise syscalls.Refused(22, "fsconfig", "overlay: unknown parameter")
def names(fd):
    return sorted(os.listdir(os.open(".", os.O_RDONLY, dir_fd=fd)))[:4]
plan = dict(type="overlay", lower={list(root.lower)}, upper={root.upper!r}, work={root.work!r},
            attributes=0, options={[(o, None) for o in root.options]}, subpath="", source="",
            served=-1)
syscalls.fsconfig_fd = refuse
by_path = mounts.make(plan)
print(names(by_path))
os.close(by_path)
syscalls.fsconfig = refuse
old = mounts.make(plan)
os.mkdir("made", dir_fd=old)
print(names(old))
plan["lower"] = plan["lower"] * 150
try:
    mounts.make(plan)
except syscalls.Refused as error:
    print(error.errno, error.filename)
"""
    process = userns.spawn([sys.executable, "-c", code], maps=maps, stdout=subprocess.PIPE)
    out = process.communicate(timeout=60)[0].decode().splitlines()
    assert process.returncode == 0
    assert out[0] == "['bin', 'etc', 'file', 'tmp']"
    assert out[1] == "['bin', 'etc', 'file', 'made']"
    assert out[2] == "7 overlay of 300 layers"
    assert (scratch / "upper/made").is_dir()
