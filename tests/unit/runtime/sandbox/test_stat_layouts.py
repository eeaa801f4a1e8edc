"""struct stat as the shim writes it, compared with the kernel's."""

from __future__ import annotations

import ctypes
import os
import struct

import pytest

from ocitool_runtime.sandbox.notify.seccomp_notify import AARCH64, I386, X86_64, LeftToKernel
from ocitool_runtime.sandbox.notify.stat_layouts import stat_answer

NUMBERS = {"x86_64": (X86_64, 262), "aarch64": (AARCH64, 79)}  # newfstatat


@pytest.mark.parametrize("path", ["/", "/dev/null", "/proc/self/exe"])
def test_it_is_the_kernels(path):
    machine, number = NUMBERS[os.uname().machine]
    answer = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(number, -100, path.encode(), answer, 0) == 0
    ours = stat_answer(machine, os.stat(path))
    assert answer.raw == ours.ljust(256, b"\0")


def test_that_of_32_bit_programs_ends_with_the_whole_inode_number():
    found = os.stat_result(
        (0o100644, 1 << 33 | 5, 7, 1, 8, 9, 1 << 34, 0, 0, 0),
        {"st_atime_ns": 1, "st_mtime_ns": 10**9 + 2, "st_ctime_ns": 3, "st_rdev": 0,
         "st_blksize": 4096, "st_blocks": 6},
    )  # fmt: skip
    answer = stat_answer(I386, found)
    assert len(answer) == 96
    assert struct.unpack_from("=IIIII", answer, 12) == (5, 0o100644, 1, 8, 9)
    assert struct.unpack_from("=q", answer, 44) == (1 << 34,)
    assert struct.unpack_from("=II", answer, 72) == (1, 2)
    assert struct.unpack_from("=Q", answer, 88) == (1 << 33 | 5,)


def test_other_machines_are_left_to_the_kernel():
    with pytest.raises(LeftToKernel):
        stat_answer(0, os.stat("/"))
