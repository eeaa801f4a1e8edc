"""The plugin in testdata/proot-plugin, in a container of docker's defaults that is not root's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.fixtures.programs import execute
from tests.fixtures.proot import EPOCH, write_context
from tests.fixtures.trees import remove_tree

UID = 12345


@pytest.fixture
def in_docker(docker, debian_base, session_tree, plugged):
    """Return a function that runs Python in a container of docker's defaults, as `UID`.

    The container sees this machine's files, read-only, and shares its PIDs, so that the files'
    /proc is that of the container, too.  PRoot 5.1.0 needs /tmp, whatever TMPDIR says.
    """
    scratch = Path(tempfile.mkdtemp(prefix="docker-", dir=session_tree))
    os.chown(scratch, UID, UID)
    variables = {"HOME": str(scratch), "PATH": os.defpath, **EPOCH}
    inside = ["chroot", "/host", "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
    inside += ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
    inside += ["sh", "-c", 'cd && exec "$@"', "sh", plugged.python]
    mounts = ("-v", "/:/host:ro", "--tmpfs", "/host/tmp:exec,mode=1777")
    mounts += ("-v", f"{session_tree}:/host{session_tree}:ro", "-v", f"{scratch}:/host{scratch}")
    start = docker.command("run", "--rm", "--pid", "host", *mounts, debian_base, *inside)

    def run(*words):
        return execute([*start, *map(str, words)])

    run.scratch = scratch
    yield run
    remove_tree(scratch)


@pytest.mark.campaign
def test_docker_run_as_a_user_builds_and_runs(in_docker, proot_expected, busybox_base, debian_base):
    store = ("-m", "ocitool", "--root", in_docker.scratch / "store")
    info = in_docker(*store, "info").ok().stdout
    assert "Driver:              vfs.aside\n" in info
    assert "supported (proot)" in info
    context = write_context(in_docker.scratch / "context", busybox_base)
    done = in_docker(*store, "build", "-q", "-t", "a:1", context)
    assert done.stdout == proot_expected, done
    assert "warning: programs run under PRoot, which does not isolate them" in done.stderr
    shown = in_docker(*store, "run", "--rm", "a:1", "cat", "/script").ok()
    assert shown.stdout == "from /dev/pipes/END\n"
    assert shown.stderr == ""  # one warning is enough for a store
    in_docker(*store, "system", "check").ok()


@pytest.mark.campaign
def test_docker_run_as_a_user_runs_programs_that_call_statx(
    in_docker, busybox_base, debian_base, registry
):
    store = ("-m", "ocitool", "--root", in_docker.scratch / "store")
    context = in_docker.scratch / "context"
    context.mkdir()
    script = (
        f"cat <(ls {in_docker.scratch} 2>&1); ls -d /etc/debian_version; stat -c %U /etc/shadow"
    )
    (context / "Dockerfile").write_text(
        f'FROM {debian_base}\nRUN ["bash", "-c", "{script}"]\nRUN touch /made\n'
    )
    tag = f"{registry}/proot-{os.getpid()}:1"
    built = in_docker(*store, "build", "--progress", "plain", "-t", tag, context).ok()
    said = built.stdout + built.stderr
    assert "No such file or directory" in said
    assert "/etc/debian_version" in said
    in_docker(*store, "push", "-q", tag).ok()


SUITE = """
import sys, traceback
from ocitool.drivers import select
from ocitool.drivers.conformance import DriverConformance, harness
from ocitool.layer import ownership

ownership.choose(ownership.UnprivilegedOwnership())
line = "from ocitool.layer.ownership import current"
choice = "from ocitool.layer import ownership; ownership.choose(ownership.UnprivilegedOwnership())"
harness.LIST = harness.LIST.replace(line, f"{line}\\n{choice}")

class Suite(DriverConformance):
    in_place = True

    def make(self, home):
        driver = select.make("vfs.aside", home)
        assert driver.unprivileged
        return driver

bad = 0
for test in dir(DriverConformance):
    if test.startswith("test_"):
        try:
            getattr(Suite(), test)()
        except Exception:  # also one that is skipped
            traceback.print_exc()
            bad += 1
print("all" if not bad else bad)
"""


@pytest.mark.campaign
def test_the_driver_passes_the_suite_without_a_user_namespace(in_docker):
    assert in_docker("-c", SUITE).ok().stdout == "all\n"
