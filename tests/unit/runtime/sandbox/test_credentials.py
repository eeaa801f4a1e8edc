"""Changes of IDs in single-ID mode, compared with what the kernel makes of them for root."""

from __future__ import annotations

import ctypes
import json
import os
import random
import subprocess
import sys

import pytest

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.single_id.credentials import CHANGES, UNCHANGED, Credentials
from tests.fixtures.programs import CHECKOUT, python_environment

pytestmark = pytest.mark.slow

#: Of the machine's own calls, which glibc would change for all threads.
NUMBERS = {
    "x86_64": {
        "setuid": 105, "setreuid": 113, "setresuid": 117, "setfsuid": 122,
        "setgid": 106, "setregid": 114, "setresgid": 119, "setfsgid": 123,
    },
    "aarch64": {
        "setuid": 146, "setreuid": 145, "setresuid": 147, "setfsuid": 151,
        "setgid": 144, "setregid": 143, "setresgid": 149, "setfsgid": 152,
    },
}  # fmt: skip
COUNT = {"setreuid": 2, "setregid": 2, "setresuid": 3, "setresgid": 3}
PR_SET_KEEPCAPS = 8


def programs(seed, many=60, calls=6):
    """Return sequences of calls with IDs of which few differ."""
    dice = random.Random(seed)
    names = (*CHANGES, *["keep", "capset", "setresuid", "setreuid", "setuid"] * 2)
    for _ in range(many):
        yield [
            [name, [dice.choice((0, 0, 7, 8, 9, UNCHANGED)) for _ in range(COUNT.get(name, 1))]]
            for name in dice.choices(names, k=calls)
        ]


def kernels(program, numbers):
    """Make the calls in this process; what they returned and the IDs after each."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = []
    for name, arguments in program:
        if name == "keep":
            result = libc.prctl(PR_SET_KEEPCAPS, arguments[0] == 7, 0, 0, 0)
        elif name == "capset":
            result = 0
            syscalls.capset(permitted(), permitted(), 0)
        else:
            result = libc.syscall(numbers[name], *map(ctypes.c_uint, arguments))
        ids = [[int(number) for number in status(row).split()[:3]] for row in ("Uid", "Gid")]
        found.append([ctypes.get_errno() if result < 0 else 0, *ids])
    return found


def status(row):
    with open("/proc/thread-self/status", encoding="ascii") as file:
        return dict(line.split(":", 1) for line in file)[row]


def permitted():
    return int(status("CapPrm"), 16)


def each_in_a_child(wanted):
    """Print as JSON what each of *wanted* finds in a process of its own; called by `found_by`."""
    permitted()  # imports the codec, which other users cannot
    for program in wanted:
        if (child := os.fork()) == 0:
            try:
                found = kernels(program, NUMBERS[os.uname().machine])
                print(json.dumps(found), flush=True)
            finally:
                os._exit(0)
        os.waitpid(child, 0)


def found_by(wanted):
    """Return what the kernel makes of each of *wanted*; pytest would take long to fork."""
    code = "import json, sys; from {0} import *; each_in_a_child(json.load(sys.stdin))"
    done = subprocess.run(
        [sys.executable, "-c", code.format(__name__)],
        input=json.dumps(wanted),
        env=python_environment(),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def ours(program):
    has, found = Credentials.of_user(0, 0, ()), []
    for name, arguments in program:
        error = 0
        try:
            if name == "keep":
                has = has.keeping(arguments[0] == 7)
            elif name == "capset":
                has = has.with_effective(True)
            elif name.endswith("uid"):
                has = has.with_uids(CHANGES[name](has.uids, arguments, has.privileged()))
            else:
                has = has.with_gids(CHANGES[name](has.gids, arguments, has.privileged()))
        except OSError as failed:
            error = failed.errno
        found.append([error, list(has.uids[:3]), list(has.gids[:3])])
    return found


@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize("seed", range(5))
def test_changes_are_the_kernels(seed):
    wanted = list(programs(seed))
    found = found_by(wanted)
    assert len(found) == len(wanted)
    for program, theirs in zip(wanted, found, strict=True):
        assert ours(program) == theirs, program


def test_ids_for_files_are_changed_apart():
    has = CHANGES["setfsuid"]((7, 8, 9, 8), [9], False)
    assert has == (7, 8, 9, 9)
    assert CHANGES["setfsuid"](has, [5], False) == has
    assert CHANGES["setresuid"](has, [UNCHANGED] * 3, False) == has
    assert CHANGES["setresuid"](has, [UNCHANGED, 8, UNCHANGED], False) == (7, 8, 9, 8)


def test_a_program_begins_without_what_a_change_has_left():
    kept = Credentials.of_user(0, 0, ()).keeping(True).with_uids((7, 7, 7, 7))
    assert not kept.privileged()
    kept = kept.with_effective(True)
    assert kept.privileged()
    assert not kept.executing().privileged()
    assert kept.executing(uid=0).uids == (7, 0, 0, 0)
    assert kept.executing(gid=5).gids == (0, 5, 5, 5)
