"""Arguments of a system call that the filter has handed to the shim, read once from its caller.

Runs in: shim.  Imports the standard library alone.
"""

from __future__ import annotations

import os

from ocitool_runtime.sandbox.notify.seccomp_notify import LeftToKernel

UNCHANGED = 0xFFFFFFFF  # -1 for an id
_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EMPTY_PATH = 0x1000
_LONGEST = 4096  # PATH_MAX, with its NUL

# What a call's arguments are, by machine (AUDIT_ARCH_*) and number.
_X86_64, _I386, _AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
_CALLS = {
    (_X86_64, 92): "chown", (_X86_64, 93): "fchown", (_X86_64, 94): "lchown",
    (_X86_64, 260): "fchownat", (_X86_64, 133): "mknod", (_X86_64, 259): "mknodat",
    (_I386, 212): "chown", (_I386, 207): "fchown", (_I386, 198): "lchown",
    (_I386, 298): "fchownat", (_I386, 14): "mknod", (_I386, 297): "mknodat",
    (_AARCH64, 55): "fchown", (_AARCH64, 54): "fchownat", (_AARCH64, 33): "mknodat",
}  # fmt: skip


class Request:
    """What a call asks for; its path is read from the caller's memory, once."""

    __slots__ = ("device", "follow", "gid", "makes", "mode", "path", "start", "uid")

    def __init__(self, machine: int, number: int, arguments: list[int], caller: int) -> None:
        call = _CALLS.get((machine, number))
        if call is None:
            raise LeftToKernel  # from a filter of the program itself
        self.makes = call.startswith("mknod")
        first, *rest = arguments
        self.start = "cwd"
        self.path = b""
        if call in ("fchownat", "mknodat"):
            self.start = _start(first)
            first, *rest = rest
        if call == "fchown":
            self.start = _start(first)
        else:
            self.path = _text(caller, first)
        self.uid = self.gid = UNCHANGED
        self.mode = self.device = 0
        self.follow = call != "lchown"
        if self.makes:
            self.mode, self.device = rest[0] & 0xFFFF, rest[1] & 0xFFFFFFFF
            return
        self.uid, self.gid = rest[0] & 0xFFFFFFFF, rest[1] & 0xFFFFFFFF
        flags = rest[2] & 0xFFFFFFFF if call == "fchownat" else 0
        if flags & ~(_AT_SYMLINK_NOFOLLOW | _AT_EMPTY_PATH):
            raise LeftToKernel
        if not self.path and call != "fchown" and not flags & _AT_EMPTY_PATH:
            raise LeftToKernel  # ENOENT
        self.follow = self.follow and not flags & _AT_SYMLINK_NOFOLLOW


def _start(number: int) -> str:
    """Return the start of relative paths, as a name in the caller's directory of /proc."""
    fd = number & 0xFFFFFFFF
    return "cwd" if fd == _AT_FDCWD & 0xFFFFFFFF else f"fd/{fd}"


def _text(caller: int, address: int) -> bytes:
    try:
        return read_text(caller, address)
    except PermissionError:
        raise LeftToKernel from None


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
