"""Docker's default seccomp profile as a BPF program (seccomp(2), Documentation/networking/filter).

The program is a binary search over ranges of call numbers, one tree for each machine, so that a
call costs about eight comparisons.  The host process builds it and sends it to the shim as bytes.

i386 programs on x86_64 have a tree of their own, as Docker's sub-architecture; x32 calls and
32-bit ARM calls are refused with ENOSYS.
"""

from __future__ import annotations

import os
import struct
from functools import cache
from typing import Final

from ocitool_runtime.host.syscall_table import (
    FILES,
    HOLES,
    JUDGED,
    NEWEST,
    REFUSED,
)
from ocitool_runtime.sandbox.single_id.calls import ANSWERED, numbers_of

ALLOW: Final = 0x7FFF0000
EPERM: Final = 0x00050000 | 1
ENOSYS: Final = 0x00050000 | 38
NOTIFY: Final = 0x7FC00000  # SECCOMP_RET_USER_NOTIF

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENT_0 = 0, 4, 16  # offsets in struct seccomp_data, little endian
_ARGUMENT_1, _ARGUMENT_2, _ARGUMENT_3 = 24, 32, 40
_O_WRITES: Final = 0o103  # O_WRONLY, O_RDWR, O_CREAT
_SOL_SOCKET, _SO_PEERCRED = 1, 17
_O_EXCL: Final = 0o200  # the file is a new one
_RLIMIT_LOCKS: Final = 10
_PR_SET_KEEPCAPS: Final = 8
#: Of these the shim answers few, by their arguments.
_FEW: Final = frozenset(
    {"open", "openat", "getsockopt", "prctl", "prlimit64", "getrlimit", "setrlimit"}
)
_AT_EMPTY_PATH: Final = 0x1000  # the file is that of a descriptor
_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}
_COLUMNS: Final = ("x86_64", "i386", "aarch64")
_MACHINES: Final = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64",)}
_CLONE_NAMESPACES: Final = 0x7E020000
_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_AF_VSOCK: Final = 40
_SYS_SOCKET: Final = 1  # of socketcall(2)
_SOCKET_FAMILIES: Final = 46  # Docker's profile ends at AF_MCTP, 45
# Docker leaves out families without a user in a container: IB, MPLS and so on.
_NO_SOCKETS: Final = frozenset({12, 19, 20, 23, 25, 34, 37, 38, _AF_VSOCK})

Code = list[tuple[int, int, int, int]]


@cache
def program(
    capabilities: frozenset[str],
    machine: str | None = None,
    *,
    notify: bool = False,
    single_id: bool = False,
    files: bool = False,
) -> bytes | None:
    """Return the filter for a container with *capabilities*, or None for an unknown machine.

    The result is an array of ``struct sock_filter``.  Capabilities are named as CAP_SYS_ADMIN.
    With *notify* the sockets of i386 programs that hide their family are handed to whoever listens
    (`sockets`); otherwise they are not supported.  With *single_id* the calls on IDs and owners
    of files are handed over, too.  With *files*
    the calls that take a path of a file are handed over, except those that make a new file.
    """
    columns = _MACHINES.get(machine or os.uname().machine)
    if columns is None:
        return None
    code: Code = [(_LOAD, 0, 0, _ARCH)]
    for name in columns:
        verdicts = _verdicts(name, capabilities)
        if single_id:
            verdicts |= _single_id(name)
        if files:
            for call, numbers in FILES[name].items():
                verdicts |= dict.fromkeys(numbers, call or NOTIFY)
        blocks = _judges("CAP_SYS_ADMIN" in capabilities, NOTIFY if notify else ENOSYS)
        tree = [(_LOAD, 0, 0, _NUMBER), *_search(_ranges(verdicts), blocks)]
        # A conditional jump reaches 255 instructions: step over the tree with a long one.
        code += [(_JUMP_EQ, 1, 0, _AUDIT_ARCH[name]), (0x05, 0, 0, len(tree)), *tree]
    code.append((_RETURN, 0, 0, ENOSYS))
    return b"".join(struct.pack("<HBBI", *row) for row in code)


def _single_id(name: str) -> dict[int, int | str]:
    return {
        number: f"{call} of a single id" if call in _FEW else NOTIFY
        for table in ANSWERED
        for call, number in numbers_of(table, name).items()
    }


def _verdicts(name: str, capabilities: frozenset[str]) -> dict[int, int | str]:
    """Map every number up to the newest to an action, or to a call with rules for arguments."""
    column = _COLUMNS.index(name)
    found: dict[int, int | str] = dict.fromkeys(range(NEWEST + 1), ALLOW)
    for first, last in HOLES[name]:
        found.update(dict.fromkeys(range(first, last + 1), ENOSYS))
    for _, frees, *numbers in REFUSED:
        if numbers[column] >= 0 and not any(f"CAP_{c}" in capabilities for c in frees.split()):
            found[numbers[column]] = EPERM
    for call, judged in JUDGED.items():
        if judged[column] >= 0:
            found[judged[column]] = call
    return found


def _ranges(verdicts: dict[int, int | str]) -> list[tuple[int, int | str]]:
    """Return (first number, verdict) wherever the verdict changes; past the end is ENOSYS."""
    found: list[tuple[int, int | str]] = []
    for number, verdict in sorted(verdicts.items()):
        if not found or found[-1][1] != verdict:
            found.append((number, verdict))
    return [*found, (NEWEST + 1, ENOSYS)]  # x32 numbers (bit 30) are above it, too


def _search(ranges: list[tuple[int, int | str]], blocks: dict[str, Code]) -> Code:
    """Return a binary search; jumps are short, so the code for "below" follows directly."""
    if len(ranges) == 1:
        verdict = ranges[0][1]
        return list(blocks[verdict]) if isinstance(verdict, str) else [(_RETURN, 0, 0, verdict)]
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle], blocks), _search(ranges[middle:], blocks)
    if len(below) > 255:
        return [(_JUMP_GE, 0, 1, ranges[middle][0]), (0x05, 0, 0, len(below)), *below, *above]
    return [(_JUMP_GE, len(below), 0, ranges[middle][0]), *below, *above]


def _judges(admin: bool, hidden_socket: int) -> dict[str, Code]:
    """Return the code for the calls that depend on their first argument (32 bits of it)."""
    load = (_LOAD, 0, 0, _ARGUMENT_0)
    allow, refuse = (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, EPERM)
    family = [
        load,
        (_JUMP_GE, 0, 1, _SOCKET_FAMILIES),
        refuse,
        *_one_of(sorted(_NO_SOCKETS), refuse),
        allow,
    ]
    return {
        # A new namespace needs clone's flags; clone3 hides them behind a pointer.
        "clone": [allow] if admin else [load, (_JUMP_SET, 0, 1, _CLONE_NAMESPACES), refuse, allow],
        "clone3": [allow] if admin else [(_RETURN, 0, 0, ENOSYS)],
        "personality": [load, *_one_of(_PERSONALITIES, allow), refuse],
        "socket": family,
        "socketpair": family,
        "open": _unless(_O_EXCL, _ARGUMENT_1),
        "openat": _unless(_O_EXCL, _ARGUMENT_2),
        "statx": _unless(_AT_EMPTY_PATH, _ARGUMENT_2),
        "newfstatat": _unless(_AT_EMPTY_PATH, _ARGUMENT_3),
        "open of a single id": _only([(_JUMP_SET, 1, 0, _O_WRITES)], _ARGUMENT_1),
        "openat of a single id": _only([(_JUMP_SET, 1, 0, _O_WRITES)], _ARGUMENT_2),
        "getsockopt of a single id": [
            (_LOAD, 0, 0, _ARGUMENT_1),
            (_JUMP_EQ, 1, 0, _SOL_SOCKET),
            allow,
            *_only([(_JUMP_EQ, 1, 0, _SO_PEERCRED)], _ARGUMENT_2),
        ],
        "prctl of a single id": _only([(_JUMP_EQ, 1, 0, _PR_SET_KEEPCAPS)], _ARGUMENT_0),
        "prlimit64 of a single id": _only([(_JUMP_EQ, 1, 0, _RLIMIT_LOCKS)], _ARGUMENT_1),
        "getrlimit of a single id": _only([(_JUMP_EQ, 1, 0, _RLIMIT_LOCKS)], _ARGUMENT_0),
        "setrlimit of a single id": _only([(_JUMP_EQ, 1, 0, _RLIMIT_LOCKS)], _ARGUMENT_0),
        "socketcall": [load, (_JUMP_EQ, 0, 1, _SYS_SOCKET), (_RETURN, 0, 0, hidden_socket), allow],
    }


def _unless(flag: int, argument: int) -> Code:
    """Hand a call over unless it has *flag* in the argument at the offset *argument*."""
    allow, notify = (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, NOTIFY)
    return [(_LOAD, 0, 0, argument), (_JUMP_SET, 0, 1, flag), allow, notify]


def _only(test: Code, argument: int) -> Code:
    """Hand a call over if the argument at the offset *argument* passes *test*."""
    allow, notify = (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, NOTIFY)
    return [(_LOAD, 0, 0, argument), *test, allow, notify]


def _one_of(values: tuple[int, ...] | list[int], then: tuple[int, int, int, int]) -> Code:
    found: Code = []
    for value in values:
        found += [(_JUMP_EQ, 0, 1, value), then]
    return found
