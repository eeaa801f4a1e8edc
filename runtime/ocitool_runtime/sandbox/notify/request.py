"""The file that a system call names: read once from the memory of its caller.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import os

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.notify.seccomp_notify import Call, LeftToKernel

_AT_FDCWD = -100
_LONGEST = 4096  # PATH_MAX, with its NUL
_reader = syscalls.TextReader()


class Named:
    """A file that a call names, and the arguments after that."""

    __slots__ = ("path", "rest", "start")

    def __init__(self, start: str, path: bytes, rest: list[int]) -> None:
        self.start = start  # of a relative path, as a name in the caller's directory of /proc
        self.path = path  # b"": the file is *start* itself
        self.rest = rest


def named(call: Call, *, at: bool, skip: int = 0) -> Named:
    """Return the file of a path, after a descriptor for its start if *at*.

    *skip* arguments come before.  Raises `LeftToKernel`.
    """
    arguments = call.arguments[skip:]
    start = _start(arguments.pop(0)) if at else "cwd"
    return Named(start, text_at(call, arguments[0]), arguments[1:])


def text_at(call: Call, address: int) -> bytes:
    """Return the text up to the NUL at *address* in the caller's memory, read once.

    It is the caller's if ``call.caller`` is there afterwards.  Raises `LeftToKernel` if it cannot
    be read.
    """
    text = _reader.read(call.pid, address, _LONGEST)
    if text is None:
        raise LeftToKernel
    return text


def opened(call: Call) -> Named:
    """Return the file of a descriptor, the first argument."""
    return Named(_start(call.arguments[0]), b"", call.arguments[1:])


def _start(number: int) -> str:
    fd = number & 0xFFFFFFFF
    return "cwd" if fd == _AT_FDCWD & 0xFFFFFFFF else f"fd/{fd}"


def read_text(caller: int, address: int) -> bytes:
    """Return the text up to the NUL at *address* in the memory of *caller*, read once.

    Raises `LeftToKernel` if it cannot be read, and PermissionError if this thread may not.
    """
    try:
        memory = os.open("mem", os.O_RDONLY | os.O_CLOEXEC, dir_fd=caller)
    except PermissionError:
        raise
    except OSError:
        raise LeftToKernel from None
    try:
        text = b""
        while len(text) < _LONGEST:  # a page at a time: the next may not be there
            data = os.pread(memory, min(4096 - address % 4096, _LONGEST - len(text)), address)
            head, end, _ = data.partition(b"\0")
            text += head
            if end:
                return text
            if not data:
                break
            address += len(data)
    except (OSError, OverflowError):  # the kernel will return EFAULT
        raise LeftToKernel from None
    finally:
        os.close(memory)
    raise LeftToKernel


def split(path: bytes) -> tuple[bytes, bytes]:
    """Return the directory and the last name of a path; no name if it ends in ``.`` or ``..``."""
    parent, slash, name = path.rpartition(b"/")
    if name in (b".", b".."):
        return path, b""
    return parent + slash or b".", name
