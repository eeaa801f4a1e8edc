"""The helper of a private network ends with its sandbox, however that ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.networks import require_helper, with_tun
from tests.fixtures.programs import python_environment

pytestmark = pytest.mark.slow

#: Starts a sandbox, says who is sandbox_user, and ends with it.
OWNER = """
import os, sys
from ocitool.errors import SandboxError
from ocitool_runtime import Mount, Sandbox, Stdio, get_isolation
from ocitool_runtime.host import private_network
from ocitool_runtime.host.userns import userns
helper, *args = sys.argv[1:]
private_network._HELPERS = (getattr(private_network, f"_{helper}"),)
sandbox = Sandbox(
    rootfs=(Mount(type="bind", source="/", options=("rbind", "ro")),), network="private",
    args=tuple(args),
)
process = get_isolation().start(userns.usable_maps().applied_to(sandbox), Stdio())
print(process.pid, process._shim.process.pid, flush=True)
ended = process.wait()
print(ended.code, ended.network_error, flush=True)
"""


@pytest.fixture(params=["slirp4netns", "pasta"])
def start(request, sandbox_user):
    """Return a function that starts a sandbox: its owner, and pidfds of its three processes."""
    require_helper(request.param)
    owners, handles = [], []

    def open_all(*pids):
        handles.extend(map(os.pidfd_open, pids))
        return handles[-len(pids) :]

    def start(*args):
        python, env = (
            (sys.executable, python_environment())
            if sandbox_user is None
            else (sandbox_user.python, sandbox_user.env)
        )
        words = with_tun(sandbox_user, python, "-c", OWNER, request.param, *args)
        owner = subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        owners.append(owner)
        init, shim = map(int, owner.stdout.readline().split())
        return owner, *open_all(init, shim, helper_of(shim))

    yield start
    for owner in owners:
        owner.kill()
        for stream in (owner.stdin, owner.stdout):
            stream.close()
        owner.wait()
    for handle in handles:
        os.close(handle)


def helper_of(shim):
    """Return the child of the process *shim* that a private network has."""
    children = Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
    (helper,) = (int(child) for child in children if name_of(child) in ("slirp4netns", "pasta"))
    return helper


def name_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().partition("\0")[0].rpartition("/")[2]


def end(*handles):
    """Wait for the ends of processes that are not our children."""
    return all(select.select([handle], [], [], 60)[0] for handle in handles)


def test_when_the_program_ends(start):
    owner, *handles = start("cat")
    owner.stdin.close()
    assert owner.wait(60) == 0
    assert owner.stdout.read() == b"0 \n"
    assert all(select.select([handle], [], [], 0)[0] for handle in handles)


def test_when_the_program_is_killed(start):
    owner, init, *handles = start("sleep", "1000")
    signal.pidfd_send_signal(init, signal.SIGKILL)
    assert owner.wait(60) == 0
    assert all(select.select([handle], [], [], 0)[0] for handle in handles)


def test_a_helper_that_ends_first_is_reported(start):
    owner, _, _, helper = start("cat")
    signal.pidfd_send_signal(helper, signal.SIGKILL)
    assert end(helper)
    owner.stdin.close()
    assert owner.stdout.read().endswith(b" was killed by signal 9\n")
    assert owner.wait(60) == 0


def test_when_its_owner_is_killed(start):
    owner, *handles = start("sleep", "1000")
    owner.kill()
    assert end(*handles)


def test_when_the_shim_is_killed(start):
    _, init, shim, helper = start("sleep", "1000")
    signal.pidfd_send_signal(shim, signal.SIGKILL)
    assert end(init, shim, helper)


@pytest.fixture
def shared(request, tmp_path):
    """A mount that other namespaces share, as all are under systemd, with another one in it."""
    request.getfixturevalue("root_only")
    outer, inner = tmp_path / "shared", tmp_path / "shared/inner"
    outer.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "shared", outer], check=True)
    try:
        subprocess.run(["mount", "--make-shared", outer], check=True)
        inner.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "inner", inner], check=True)
        yield inner
    finally:
        subprocess.run(["umount", "--lazy", "--recursive", outer], check=True)


def test_no_mount_of_the_host_goes_with_it(start, shared):
    """slirp4netns makes only the root private before it detaches the tree it has left."""
    owner, *_ = start("cat")
    owner.stdin.close()
    assert owner.wait(60) == 0
    assert shared.is_mount()
