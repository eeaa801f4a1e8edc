"""Arguments of the calls that take a path of a file, read from their caller.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import struct

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.notify.request import read_text
from ocitool_runtime.sandbox.notify.seccomp_notify import AARCH64 as _AARCH64
from ocitool_runtime.sandbox.notify.seccomp_notify import I386 as _I386
from ocitool_runtime.sandbox.notify.seccomp_notify import X86_64 as _X86_64
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel

# What a call is, by machine (AUDIT_ARCH_*) and number: its name, and the argument with the path.
_CALLS = {
    (_X86_64, 2): ("open", 0), (_X86_64, 257): ("open", 1), (_X86_64, 437): ("openat2", 1),
    (_X86_64, 89): ("readlink", 0), (_X86_64, 267): ("readlink", 1),
    (_X86_64, 4): ("stat", 0), (_X86_64, 6): ("lstat", 0), (_X86_64, 262): ("fstatat", 1),
    (_X86_64, 332): ("statx", 1),
    (_X86_64, 21): ("access", 0), (_X86_64, 269): ("access", 1), (_X86_64, 439): ("access", 1),
    (_I386, 5): ("open", 0), (_I386, 295): ("open", 1), (_I386, 437): ("openat2", 1),
    (_I386, 85): ("readlink", 0), (_I386, 305): ("readlink", 1), (_I386, 383): ("statx", 1),
    (_I386, 33): ("access", 0), (_I386, 307): ("access", 1), (_I386, 439): ("access", 1),
    (_AARCH64, 56): ("open", 1), (_AARCH64, 437): ("openat2", 1), (_AARCH64, 78): ("readlink", 1),
    (_AARCH64, 79): ("fstatat", 1), (_AARCH64, 291): ("statx", 1), (_AARCH64, 48): ("access", 1),
    (_AARCH64, 439): ("access", 1),
}  # fmt: skip

#: How a path can begin that leads to /dev, /proc or /sys.
BEGINNINGS = (b"/p", b"/d", b"/s", b"//", b"/.")


def elsewhere(call: Call) -> bool:
    """Say whether the path of *call* begins as none does that is answered.

    A quick look, as the shim is asked for every path.  False if this thread may not look.
    """
    kind = _CALLS.get((call.machine, call.number))
    if kind is None:
        return True
    try:
        head = syscalls.read_memory(call.pid, call.arguments[kind[1]], 2)
    except OSError:
        return False
    return not head.startswith(BEGINNINGS)


class Request:
    """A call: what it is, its path, and the arguments after that."""

    __slots__ = ("arguments", "kind", "path")

    def __init__(self, kind: str, path: bytes, arguments: list[int]) -> None:
        self.kind = kind
        self.path = path
        self.arguments = arguments


def request(call: Call) -> Request:
    """Return what *call* asks for.

    Raises `LeftToKernel` for any other call, and PermissionError if this thread may
    not read the caller's memory.
    """
    kind, at = _CALLS.get((call.machine, call.number), ("", 0))
    if not kind or call.caller < 0:
        raise LeftToKernel
    path = read_text(call.caller, call.arguments[at])
    rest = call.arguments[at + 1 :]
    if kind == "openat2":
        flags, _, resolve = struct.unpack("=QQQ", call.memory(rest[0], 24))
        if resolve:  # how far a path may lead is for the kernel to judge
            raise LeftToKernel
        return Request("open", path, [flags])
    return Request(kind, path, rest)
