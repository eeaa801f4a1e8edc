"""What a machine executes beside the image's programs: a seccomp filter, and a container init.

PRoot rewrites the paths in the system calls of the programs that it traces.  A call that it does
not know reaches the kernel with the path as it is, and sees the host; and what PRoot exits with is
the code of whichever process ended last.  So each sandbox has

- a filter that answers ENOSYS to calls with paths that are newer than PRoot, upon which C libraries
  and language runtimes make an older one;
- an init of a few instructions, which executes the program and reports how it ended.
"""

from __future__ import annotations

import struct
from typing import Final

MACHINES: Final = ("x86_64", "aarch64")

# -- the filter -------------------------------------------------------------------------------

_LOAD, _JUMP_EQ, _JUMP_GE, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
_ALLOW, _ENOSYS = 0x7FFF0000, 0x00050000 | 38
#: From here on a call has the same number on every machine (Linux 5.1).
_SAME: Final = 424
#: Those without paths that programs gain by: pidfd_send_signal, pidfd_open, close_range,
#: epoll_pwait2, futex_waitv.
_HARMLESS: Final = (424, 434, 436, 441, 449)
#: By AUDIT_ARCH: statx, renameat2, execveat, name_to_handle_at, open_by_handle_at.
_OLDER: Final = {
    "x86_64": {0xC000003E: (332, 316, 322, 303, 304), 0x40000003: (383, 353, 358, 341, 342)},
    "aarch64": {0xC00000B7: (291, 276, 281, 264, 265)},
}


def make_filter(machine: str) -> bytes:
    """Return a program for seccomp(2): an array of ``struct sock_filter``."""
    code = [(_LOAD, 0, 0, _ARCH)]
    for arch, older in _OLDER[machine].items():
        newer = [*_each(_HARMLESS, _ALLOW), (_RETURN, 0, 0, _ENOSYS)]
        judged = [
            (_LOAD, 0, 0, _NUMBER),
            (_JUMP_GE, 0, len(newer), _SAME),
            *newer,
            *_each(older, _ENOSYS),
            (_RETURN, 0, 0, _ALLOW),
        ]
        code += [(_JUMP_EQ, 0, len(judged), arch), *judged]
    code.append((_RETURN, 0, 0, _ENOSYS))
    return b"".join(struct.pack("<HBBI", *row) for row in code)


def _each(numbers: tuple[int, ...], action: int) -> list[tuple[int, int, int, int]]:
    rows = []
    for number in numbers:
        rows += [(_JUMP_EQ, 0, 1, number), (_RETURN, 0, 0, action)]
    return rows


# -- the init ---------------------------------------------------------------------------------

#: Machine code, position-independent, assembled from init-x86_64.S and init-aarch64.S.
_CODE: Final = {
    "x86_64": bytes.fromhex(
        "488d5c24104889dfe8c20000004989fce8ba0000004989fdb838000000bf1140000031f631d24531"
        "d24531c00f0585c07425504989c6e87d000000b83d0000004c89f7488d342431d24531d20f05e865"
        "00000031ffeb5ab8700000000f05b848000000bf03000000be02000000ba010000000f0541befeff"
        "ffff488b3b4883c3084885ff741f4c89ee4c89e2b83b0000000f0583f8fe74e283f8ec74dd4189c6"
        "83f8f374d54156e80c000000bf7f000000b8e70000000f05b801000000bf03000000488d742408ba"
        "040000000f05c3488b074883c70880380075f448c747f800000000c3"
    ),
    "aarch64": bytes.fromhex(
        "f3430091e00313aa3c000094f40300aa3a000094f50300aa881b80d2200288d2010080d2020080d2"
        "030080d2040080d2010000d4c00100b4f60300aa26000094ff4300d1882080d2e00316aae1030091"
        "020080d2030080d2010000d4e00340b91d000094000080d219000014a81380d2010000d4280380d2"
        "600080d2410080d2220080d2010000d436008092608640f8800100b4e10315aae20314aaa81b80d2"
        "010000d41f0800b120ffff541f5000b1e0feff54f60300aa1f3400b180feff54e00316aa04000094"
        "e00f80d2c80b80d2010000d4ff4300d1e00300b9080880d2600080d2e1030091820080d2010000d4"
        "ff430091c0035fd6018440f821004039c1ffff351f801ff8c0035fd6"
    ),
}
_ELF_MACHINE: Final = {"x86_64": 62, "aarch64": 183}
_BASE: Final = 0x400000
_HEADERS: Final = 64 + 56  # bytes


def make_init(machine: str) -> bytes:
    """Return the init as a static ELF file; its arguments are described in init-x86_64.S."""
    code = _CODE[machine]
    size = _HEADERS + len(code)
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    kind = (2, _ELF_MACHINE[machine], 1)  # ET_EXEC
    header = struct.pack("<HHIQQQIHHHHHH", *kind, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return ident + header + load + code
