"""Trying out what the kernel and the file system can do, in a process that leaves nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from ocitool.drivers.driver import Support
from ocitool.layer.root import remove_tree

#: Mounts an overlay in a mount namespace of its own, writes through it, removes through it.  It
#: dies with the namespace, so nothing has to be unmounted.
_OVERLAY: Final = r"""
import ctypes, os, stat, sys
top, options = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        sys.exit(f"{what}: {os.strerror(number)}")
check(libc.unshare(0x20000), "a mount namespace")
check(libc.mount(None, b"/", None, 0x44000, None), "private mounts")
for name in ("lower", "upper", "work", "merged"):
    os.mkdir(f"{top}/{name}")
open(f"{top}/lower/file", "w").close()
data = f"lowerdir={top}/lower,upperdir={top}/upper,workdir={top}/work,{options}"
check(libc.mount(b"overlay", f"{top}/merged".encode(), b"overlay", 0, data.encode()), "the mount")
try:
    open(f"{top}/merged/new", "w").close()
    os.unlink(f"{top}/merged/file")
    if not stat.S_ISCHR(os.lstat(f"{top}/upper/file").st_mode):
        sys.exit("a removed file left no whiteout")
finally:
    libc.umount2(f"{top}/merged".encode(), 2)
"""


def initial_user_namespace() -> bool:
    """Say whether this process is in the machine's first user namespace, where root is root."""
    try:
        with open("/proc/self/uid_map", "rb") as maps:
            return maps.read().split() == [b"0", b"0", b"4294967295"]
    except OSError:
        return True  # a kernel without user namespaces


def try_overlay(home: str, options: Sequence[str]) -> Support:
    """Mount an overlay beneath *home* and use it."""
    import subprocess
    import tempfile

    place = tempfile.mkdtemp(prefix="probe-", dir=home)
    try:
        if "," in place or ":" in place:
            return Support(
                ok=False,
                reason="the path of the store holds a comma or a colon",
                hint="choose another --root",
            )
        program = [sys.executable, "-I", "-S", "-c", _OVERLAY, place, ",".join(options)]
        done = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)
    finally:
        remove_tree(place)
    if done.returncode == 0:
        return Support(ok=True, reason="overlayfs works here")
    lines = done.stderr.strip().splitlines() or ["no reason given"]
    hint = ""
    if "Invalid argument" in lines[-1]:
        hint = (
            "the store may lie on another overlayfs, as in a container: give --root a place on a "
            "volume or a tmpfs"
        )
    return Support(ok=False, reason=f"overlayfs does not work here: {lines[-1]}", hint=hint)
