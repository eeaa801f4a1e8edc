"""What stat(2) writes into the memory of its caller, which differs between machines.

Runs in: shim.  Imports only the standard library.
Source: arch/x86/include/uapi/asm/stat.h, include/uapi/asm-generic/stat.h.
"""

from __future__ import annotations

import os
import struct

from ocitool_runtime.sandbox.notify.seccomp_notify import AARCH64, I386, X86_64, LeftToKernel

_X86_64 = struct.Struct("=QQQIIIxxxxQqqqqQqQqQ24x")
_AARCH64 = struct.Struct("=QQIIIIQ8xqixxxxqqQqQqQ8x")
_I386 = struct.Struct("=QxxxxIIIIIQxxxxqIqIIIIIIQ")  # struct stat64
_SECOND = 10**9


def stat_answer(machine: int, found: os.stat_result) -> bytes:
    """Return *found* as the ``struct stat`` of *machine*, an AUDIT_ARCH_*."""
    times = [
        part
        for time in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
        for part in divmod(time, _SECOND)
    ]
    owner = (found.st_uid, found.st_gid, found.st_rdev)
    sizes = (found.st_size, found.st_blksize, found.st_blocks)
    if machine == X86_64:
        head = (found.st_dev, found.st_ino, found.st_nlink, found.st_mode)
        return _X86_64.pack(*head, *owner, *sizes, *times)
    head = (found.st_dev, found.st_ino, found.st_mode, found.st_nlink)
    if machine == AARCH64:
        return _AARCH64.pack(*head, *owner, *sizes, *times)
    if machine != I386:
        raise LeftToKernel
    head = (found.st_dev, found.st_ino & 0xFFFFFFFF, found.st_mode, found.st_nlink)
    times = [each & 0xFFFFFFFF for each in times]  # its clock ends in 2038
    return _I386.pack(*head, *owner, *sizes, *times, found.st_ino)
