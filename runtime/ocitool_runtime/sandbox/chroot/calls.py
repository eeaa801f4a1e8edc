"""Arguments of the calls that open files and read links, read from their caller.

Runs in: shim.  Imports the standard library alone.
"""

from __future__ import annotations

import struct

from ocitool_runtime.sandbox.notify.request import read_text
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel

# What a call is, by machine (AUDIT_ARCH_*) and number: its name, and the argument with the path.
_X86_64, _I386, _AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
_CALLS = {
    (_X86_64, 2): ("open", 0), (_X86_64, 257): ("open", 1), (_X86_64, 437): ("openat2", 1),
    (_X86_64, 89): ("readlink", 0), (_X86_64, 267): ("readlink", 1),
    (_I386, 5): ("open", 0), (_I386, 295): ("open", 1), (_I386, 437): ("openat2", 1),
    (_I386, 85): ("readlink", 0), (_I386, 305): ("readlink", 1),
    (_AARCH64, 56): ("open", 1), (_AARCH64, 437): ("openat2", 1), (_AARCH64, 78): ("readlink", 1),
}  # fmt: skip


class Opens:
    """A call of open(2), openat(2) or openat2(2)."""

    __slots__ = ("flags", "path")

    def __init__(self, path: bytes, flags: int) -> None:
        self.path = path
        self.flags = flags


class ReadsLink:
    """A call of readlink(2) or readlinkat(2); *buffer* is an address in the caller's memory."""

    __slots__ = ("buffer", "path", "size")

    def __init__(self, path: bytes, buffer: int, size: int) -> None:
        self.path = path
        self.buffer = buffer
        self.size = size


def request(call: Call) -> Opens | ReadsLink:
    """Return what *call* asks for.

    Raises `LeftToKernel` for a call that is none of these, and PermissionError if this thread may
    not read the caller's memory.
    """
    kind, at = _CALLS.get((call.machine, call.number), ("", 0))
    if not kind or call.caller < 0:
        raise LeftToKernel
    path = read_text(call.caller, call.arguments[at])
    second, third = call.arguments[at + 1 : at + 3]
    if kind == "readlink":
        if not third & 0xFFFFFFFF:
            raise LeftToKernel  # EINVAL
        return ReadsLink(path, second, third & 0xFFFFFFFF)
    if kind == "openat2":
        second, _, resolve = struct.unpack("=QQQ", call.memory(second, 24))
        if resolve:  # how far a path may lead is for the kernel to judge
            raise LeftToKernel
    return Opens(path, second & 0xFFFFFFFF)
