"""What a seccomp filter of an outer container refuses, in each way that filters have to refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ocitool_runtime.host.syscall_table import REFUSED
from tests.fixtures.programs import python_environment

pytestmark = pytest.mark.slow

EPERM, ENOSYS, KILL = 0x50001, 0x50026, 0x80000000
#: Installs a filter that has one answer for some system calls, and tries each isolation.
UNDER_FILTER = """
import ctypes, json, struct, sys
from ocitool.errors import SandboxError
from ocitool_runtime import Mount, Sandbox, Stdio, get_isolation
from ocitool_runtime.host.userns import userns

action, tree, *numbers = sys.argv[1:]
steps = [(0x20, 0, 0, 0)]  # load the number
for number in numbers:
    steps += [(0x15, 0, 1, int(number)), (6, 0, 0, int(action))]
code = b"".join(struct.pack("<HBBI", *step) for step in [*steps, (6, 0, 0, 0x7FFF0000)])
held = ctypes.create_string_buffer(code)
program = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(held))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
found = {}
for name in ("namespaces", "chroot", "auto"):
    support = get_isolation(name).probe()
    found[name] = [support.ok, support.reason, support.hint]
maps = userns.usable_maps()
for needed in (False, True):
    sandbox = Sandbox(rootfs=(Mount(type="bind", source=tree),), args=("true",), env=("PATH=/bin",),
                      hostname="box", hostname_needed=needed)
    try:
        done = get_isolation("auto").start(maps.applied_to(sandbox), Stdio()).wait()
        found[f"run {needed}"] = [done.code, done.error, [*done.notes, *done.warnings]]
    except SandboxError as error:
        found[f"run {needed}"] = [None, str(error), [error.hint]]
print(json.dumps(found))
"""
IN_CHROOT = "programs run in a chroot"


def number_of(call):
    column = {"x86_64": 2, "aarch64": 4}.get(os.uname().machine)
    if column is None:
        pytest.skip("the number is not known here")
    return next(row[column] for row in REFUSED if row[0] == call)


@pytest.fixture
def tried(image, maps):
    """Return a function that tries the isolations where an action answers the calls."""

    def tried(action, *calls):
        words = (str(action), str(image), *(str(number_of(call)) for call in calls))
        done = subprocess.run([sys.executable, "-c", UNDER_FILTER, *words], capture_output=True,
                              env=python_environment(), text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return tried


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (EPERM, "Operation not permitted (unshare)"),
        (ENOSYS, "Function not implemented (unshare)"),
        (KILL, "a seccomp filter killed the sandbox shim"),
    ],
)
def test_namespaces_are_refused_with_the_reason_and_root_has_chroot(tried, action, reason):
    found = tried(action, "unshare", "setns", "mount")
    ok, why, hint = found["namespaces"]
    assert not ok and why.endswith(reason)
    if os.geteuid() == 0:
        code, _, notes = found["run False"]
        assert found["auto"][0] and code == 0 and IN_CHROOT in notes[-1]
        assert found["run True"][1] == "isolation by chroot does not support a host name"
    else:
        assert "a seccomp filter, probably of an outer container, refuses it" in hint
        assert found["run False"][1].endswith(reason)


def test_a_host_name_that_cannot_be_set_is_no_reason_to_refuse_all(tried):
    """The profile of podman and CRI-O allows user namespaces, and refuses sethostname."""
    found = tried(EPERM, "sethostname")
    code, _, notes = found["run False"]
    assert code == 0
    assert "the host name is that of the machine: Operation not permitted" in notes
    code, why, _ = found["run True"]
    assert (code, why) == (None, "cannot set the host name: Operation not permitted (sethostname)")
