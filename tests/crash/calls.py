"""The system calls that change what a crash leaves behind, and the filter that stops at them.

Names, numbers and the argument that is a path; numbers from the kernel's
arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl (which aarch64 uses).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Final

_NONE: Final = -1  # an architecture has no such call
_CALLS: Final = {  # name: x86_64, aarch64, which argument is the path
    "rename": (82, _NONE, 0), "renameat": (264, 38, 1), "renameat2": (316, 276, 1),
    "link": (86, _NONE, 0), "linkat": (265, 37, 3), "symlink": (88, _NONE, 1),
    "symlinkat": (266, 36, 2), "unlink": (87, _NONE, 0), "unlinkat": (263, 35, 1),
    "mkdir": (83, _NONE, 0), "mkdirat": (258, 34, 1), "rmdir": (84, _NONE, 0),
    "mknod": (133, _NONE, 0), "mknodat": (259, 33, 1), "openat": (257, 56, 1),
    "truncate": (76, 45, 0), "ftruncate": (77, 46, None), "pwrite64": (18, 68, None),
    "fsync": (74, 82, None), "fdatasync": (75, 83, None), "syncfs": (306, 267, None),
    "copy_file_range": (326, 285, None), "utimensat": (280, 88, None),
    "chmod": (90, _NONE, 0), "fchmod": (91, 52, None), "fchmodat": (268, 53, 1),
    "chown": (92, _NONE, 0), "lchown": (94, _NONE, 0), "fchown": (93, 55, None),
    "fchownat": (260, 54, 1), "setxattr": (188, 5, 0), "lsetxattr": (189, 6, 0),
    "fsetxattr": (190, 7, None), "flock": (73, 32, None), "mount": (165, 40, 1),
    "umount2": (166, 39, 0), "pivot_root": (155, 41, 0), "open_tree": (428, 428, None),
    "move_mount": (429, 429, 3), "fsmount": (432, 432, None), "mount_setattr": (442, 442, None),
    "unshare": (272, 97, None), "setns": (308, 268, None), "clone": (56, 220, None),
    "clone3": (435, 435, None), "vfork": (58, _NONE, None), "execve": (59, 221, 0),
}  # fmt: skip
NAMES: Final = tuple(_CALLS)
PATHS: Final = tuple(path for *_, path in _CALLS.values())

#: linux/audit.h: AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64
_MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
#: An openat without one of these changes nothing (asm-generic/fcntl.h; the last is __O_TMPFILE).
_CHANGING: Final = os.O_CREAT | os.O_TRUNC | 0o20000000

_TRACE: Final = 0x7FF00000  # linux/seccomp.h: SECCOMP_RET_TRACE; the low bits come to the tracer
_ALLOW: Final = 0x7FFF0000
_LOAD, _EQUAL, _ANY, _RETURN = 0x20, 0x15, 0x45, 0x06  # linux/bpf_common.h, for words
_NUMBER, _MACHINE, _THIRD = 0, 4, 32  # offsets in struct seccomp_data
_PR_SET_SECCOMP: Final = 22
_FILTER: Final = 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def supported() -> bool:
    """Say whether the numbers of this machine's calls are known here."""
    return platform.machine() in _MACHINES


def stop_at_changes() -> None:
    """Let this process and all it starts stop for their tracer at each call of the table."""
    code = ctypes.create_string_buffer(program())
    length = (len(code) - 1) // 8
    held = _Program(length, ctypes.cast(code, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(held), 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def program() -> bytes:
    """Return the filter: a load, then a pair for each call, and what lets the rest pass."""
    column, machine = _MACHINES[platform.machine()]
    code = [_step(_LOAD, _MACHINE), _step(_EQUAL, machine, 1, 0), _step(_RETURN, _ALLOW)]
    code.append(_step(_LOAD, _NUMBER))
    for at, (name, known) in enumerate(_CALLS.items()):
        if known[column] == _NONE:
            continue
        if name == "openat":
            code += (_step(_EQUAL, known[column], 0, 4), _step(_LOAD, _THIRD))
            code += (_step(_ANY, _CHANGING, 0, 1), _step(_RETURN, _TRACE | at))
            code.append(_step(_RETURN, _ALLOW))
        else:
            code += (_step(_EQUAL, known[column], 0, 1), _step(_RETURN, _TRACE | at))
    code.append(_step(_RETURN, _ALLOW))
    return b"".join(code)


def _step(what: int, value: int, then: int = 0, other: int = 0) -> bytes:
    return struct.pack("HBBI", what, then, other, value)
