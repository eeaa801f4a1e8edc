"""The filter, run by an interpreter of its instructions: both machines, no privileges."""

from __future__ import annotations

import struct

import pytest

from ocitool_runtime.host.seccomp import ALLOW, ENOSYS, EPERM, NOTIFY, program
from ocitool_runtime.host.syscall_table import JUDGED, NEWEST, REFUSED
from ocitool_runtime.spec import DEFAULT_CAPABILITIES

ARCH = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}
COLUMN = {"x86_64": 0, "i386": 1, "aarch64": 2}
MACHINE = {"x86_64": "x86_64", "i386": "x86_64", "aarch64": "aarch64"}
ALL = tuple(ARCH)


def judge(arch, number, argument=0, capabilities=DEFAULT_CAPABILITIES, **how):
    """Return what the filter answers to one call."""
    code = program(frozenset(capabilities), MACHINE[arch], **how)
    rows = list(struct.iter_unpack("<HBBI", code))
    data = struct.pack("<IIQQ", number & 0xFFFFFFFF, ARCH.get(arch, 0), 0, argument)
    at, value = 0, 0
    while True:
        kind, yes, no, operand = rows[at]
        at += 1
        if kind == 0x20:
            value = struct.unpack_from("<I", data, operand)[0]
        elif kind == 0x06:
            return operand
        elif kind == 0x05:
            at += operand
        else:
            compare = {0x15: value == operand, 0x35: value >= operand, 0x45: value & operand}
            at += yes if compare[kind] else no


@pytest.mark.parametrize("arch", ALL)
def test_every_refused_call_is_refused(arch):
    for name, _, *numbers in REFUSED:
        number = numbers[COLUMN[arch]]
        if number < 0 or name == "chroot":  # CAP_SYS_CHROOT is among the default ones
            continue
        assert judge(arch, number) == EPERM, name


@pytest.mark.parametrize("arch", ALL)
def test_a_capability_frees_its_calls(arch):
    for name, frees, *numbers in REFUSED:
        for capability in frees.split():
            number = numbers[COLUMN[arch]]
            if number >= 0:
                assert judge(arch, number, 0, (f"CAP_{capability}",)) == ALLOW, name


@pytest.mark.parametrize("arch", ALL)
def test_common_calls_are_allowed(arch):
    read, execve, openat2, close_range = {
        "x86_64": (0, 59, 437, 436),
        "i386": (3, 11, 437, 436),
        "aarch64": (63, 221, 437, 436),
    }[arch]
    for number in (read, execve, openat2, close_range, NEWEST):
        assert judge(arch, number) == ALLOW


@pytest.mark.parametrize("arch", ALL)
@pytest.mark.parametrize("number", [NEWEST + 1, 1000, 0x40000000, 0x40000027, 0xFFFFFFFF])
def test_unknown_calls_and_x32_are_as_if_not_there(arch, number):
    assert judge(arch, number) == ENOSYS


@pytest.mark.parametrize("arch", ALL)
def test_calls_that_depend_on_an_argument(arch):
    numbers = {name: JUDGED[name][COLUMN[arch]] for name in JUDGED}
    clone, clone3, personality = (numbers[name] for name in ("clone", "clone3", "personality"))
    assert judge(arch, clone, 0x3D0F00) == ALLOW  # a thread
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert judge(arch, clone, flag | 17) == EPERM
        assert judge(arch, clone, flag | 17, ("CAP_SYS_ADMIN",)) == ALLOW
    assert judge(arch, clone3) == ENOSYS
    assert judge(arch, clone3, 0, ("CAP_SYS_ADMIN",)) == ALLOW
    for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
        assert judge(arch, personality, value) == ALLOW
    assert judge(arch, personality, 0x40000) == EPERM
    refused = [*(12, 19, 20, 23, 25, 34, 37, 38, 40), *range(46, 64)]
    for call in (numbers["socket"], numbers["socketpair"]):
        assert [family for family in range(64) if judge(arch, call, family) == EPERM] == refused


def test_a_socket_whose_family_is_hidden_is_not_the_filters_to_allow():
    """The families of socketcall(SYS_SOCKET, ...) are behind a pointer."""
    assert judge("i386", 102, 1) == ENOSYS
    assert judge("i386", 102, 2) == ALLOW
    assert judge("i386", 102, 1, notify=True) == NOTIFY
    assert judge("x86_64", 102, 1, notify=True) == ALLOW  # another call: getuid


def test_other_machines():
    assert program(frozenset(), "riscv64") is None
    rows = program(frozenset(DEFAULT_CAPABILITIES), "x86_64")
    assert len(rows) // 8 < 4096  # BPF_MAXINSNS
