"""Overlays that a program serves: what is written arrives, and it goes with its sandbox."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from ocitool.errors import SetupFailed
from ocitool_runtime import Mount, Stdio, get_isolation
from tests.fixtures.programs import python_environment
from tests.unit.runtime.conftest import finish, overlay

OWNER_PROGRAM = """
import pickle, sys
from ocitool_runtime import Stdio, get_isolation
process = get_isolation().start(pickle.loads(bytes.fromhex(sys.argv[1])), Stdio())
print(process.pid, flush=True)
process.wait()
"""


@pytest.fixture(autouse=True, scope="module")
def fuse():
    if shutil.which("fuse-overlayfs") is None:
        pytest.skip("needs the program fuse-overlayfs")
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        pytest.skip(f"needs /dev/fuse: {error.strerror}")


@pytest.fixture
def served(scratch, image):
    """The image with an upper directory, served by the program."""
    return replace(overlay(scratch, image), type="fuse-overlayfs", options=())


@pytest.fixture
def servers(scratch):
    """Return a function that lists the processes which have something of *scratch* open."""

    def servers():
        return [pid for pid in os.listdir("/proc") if pid.isdigit() and _holds(pid, str(scratch))]

    yield servers
    assert servers() == []


def _holds(pid, place):
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/comm", encoding="utf-8") as name:
            if name.read().strip() != "fuse-overlayfs":
                return False
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{fd}").startswith(place):
                return True
    return False


def test_what_is_written_is_there_when_the_program_has_ended(make, served, scratch, servers):
    script = "cat bin/../etc/group > new; rm etc/passwd; mkdir d; echo x >> etc/group"
    done = finish(make(script, rootfs=(served,)), scratch)
    assert done.exit.code == 0, done
    assert servers() == []  # no wait: it has ended before the sandbox has
    upper = scratch / "upper"
    assert (upper / "new").read_text() + "x\n" == (upper / "etc/group").read_text()
    assert os.lstat(upper / "etc/passwd").st_rdev == 0
    assert (upper / "d").is_dir()


@pytest.mark.slow
def test_what_is_written_through_a_mapping_is_there(make, scratch, servers):
    """Python maps a file and dies without a word to anybody."""
    (scratch / "low").mkdir()
    with open(scratch / "low/mapped", "wb") as file:
        file.truncate(1 << 20)
    volume = Mount(
        type="fuse-overlayfs",
        target="/tmp",
        lower=(str(scratch / "low"),),
        upper=str(scratch / "upper"),
        work=str(scratch / "work"),
    )
    for name in ("upper", "work"):
        (scratch / name).mkdir(exist_ok=True)
    code = (
        "import mmap, os\n"
        "fd = os.open('/tmp/mapped', os.O_RDWR)\n"
        "m = mmap.mmap(fd, 1 << 20); m[:] = b'x' * (1 << 20); os.kill(os.getpid(), 9)"
    )
    root = (Mount(type="bind", source="/", options=("rbind", "ro")),)
    python = (os.path.realpath(sys.executable), "-I", "-S", "-c", code)
    sandbox = make(python, rootfs=root, mounts=(volume,), init=True)
    assert finish(sandbox, scratch).exit.code == 128 + 9
    assert (scratch / "upper/mapped").read_bytes() == b"x" * (1 << 20)


def test_the_container_neither_sees_the_program_nor_starts_with_it(run, served, servers):
    assert run("exec ls -d /proc/[0-9]*", rootfs=(served,)).ok().split() == ["/proc/1"]


def test_without_an_upper_nothing_can_be_written(run, served, servers):
    volume = replace(served, upper="", work="", target="/tmp")
    done = run("cat /tmp/etc/group; touch /tmp/new", rootfs=(served,), mounts=(volume,))
    assert "wheel" in done.out
    assert "Read-only" in done.err


def test_a_part_of_it_can_be_a_volume(run, served, scratch, image, servers):
    part = replace(served, upper="", work="", target="/tmp", options=("subpath=etc",))
    assert "passwd" in run("ls /tmp", mounts=(part,)).ok()


@pytest.mark.slow
def test_kill_9_of_the_parent_ends_the_program(make, served, scratch, servers):
    words = pickle.dumps(make(("sleep", "1000"), rootfs=(served,))).hex()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER_PROGRAM, words],
        env=python_environment(),
        stdout=subprocess.PIPE,
    )
    with owner:
        pid = int(owner.stdout.readline())
        handles = [os.pidfd_open(int(each)) for each in servers()]
        assert len(handles) == 1
        handles.append(os.pidfd_open(pid))
        owner.kill()
    for handle in handles:
        assert ends(handle)


def test_kill_9_of_the_shim_ends_the_program(make, served, servers):
    process = get_isolation().start(make(("sleep", "1000"), rootfs=(served,)), Stdio())
    handles = [os.pidfd_open(int(each)) for each in servers()]
    assert len(handles) == 1
    process._shim.process.kill()
    assert ends(handles[0])
    process.close()


def test_kill_9_of_the_program_leaves_nothing_that_cannot_be_ended(make, served, servers):
    process = get_isolation().start(make("sleep 1000", rootfs=(served,)), Stdio())
    for each in servers():
        os.kill(int(each), 9)
    process.kill(9)
    assert process.wait(60).signal in (signal.SIGKILL, signal.SIGBUS)  # its pages are gone


def test_a_program_that_is_missing_is_named_with_the_remedy(make, served, scratch, monkeypatch):
    monkeypatch.setenv("PATH", str(scratch))
    with pytest.raises(SetupFailed, match="fuse-overlayfs") as caught:
        get_isolation().start(make("true", rootfs=(served,)), Stdio())
    assert "install the package fuse-overlayfs" in caught.value.hint


def test_what_the_program_says_is_in_the_error(make, served, scratch):
    with pytest.raises(SetupFailed, match="no/such/layer"):
        get_isolation().start(
            make("true", rootfs=(replace(served, lower=("/no/such/layer",)),)), Stdio()
        )


def ends(handle):
    try:
        return bool(select.select([handle], [], [], 60)[0])
    finally:
        os.close(handle)
