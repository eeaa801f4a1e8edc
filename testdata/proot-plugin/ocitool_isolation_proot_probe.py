"""What a probe of PRoot executes: prints each call that does not see what PRoot shows.

The argument is a directory that PRoot shows in place of another: ``only-inside`` is in it, and
``only-outside`` is not, but in the other.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable

_AT_FDCWD = -100
_STATX = {"x86_64": 332, "aarch64": 291}
_OPENAT2, _FACCESSAT2 = 437, 439


def main() -> None:
    """Try the calls by which programs look for files."""
    directory = sys.argv[1]
    for name, call in _calls().items():
        try:
            call(f"{directory}/only-inside")
        except OSError as error:
            if error.errno == errno.ENOSYS:  # then programs make an older call
                continue
            print(f"{name} does not see a file of the container ({error.strerror})")
        try:
            call(f"{directory}/only-outside")
        except OSError:
            continue
        print(f"{name} sees a file that is not in the container")
    if os.geteuid() != 0:
        print("the user is not root")
    if os.system(f"test -e {directory}/only-inside"):
        print("a shell does not see a file of the container")


def _calls() -> dict[str, Callable[[str], object]]:
    libc = ctypes.CDLL(None, use_errno=True)
    how = (ctypes.c_uint64 * 3)(os.O_PATH, 0, 0)
    buffer = ctypes.create_string_buffer(256)

    def raw(number: int, *arguments: object) -> Callable[[str], None]:
        def call(path: str) -> None:
            if libc.syscall(number, _AT_FDCWD, os.fsencode(path), *arguments) < 0:
                failed = ctypes.get_errno()
                raise OSError(failed, os.strerror(failed))

        return call

    return {
        "stat": os.stat,
        "lstat": os.lstat,
        "open": lambda path: os.close(os.open(path, os.O_RDONLY)),
        "chmod": lambda path: os.chmod(path, 0o644),
        "rename": lambda path: os.rename(path, path),
        "statx": raw(_STATX[os.uname().machine], 0, 0x7FF, buffer),
        "openat2": raw(_OPENAT2, how, 24),
        "faccessat2": raw(_FACCESSAT2, 0, 0),
    }


if __name__ == "__main__":
    main()
