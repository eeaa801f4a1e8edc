"""Trying out what the kernel and the file system can do, in a process that leaves nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from ocitool.drivers.driver import Support
from ocitool.layer.beneath import remove_tree

#: Goes into a mount namespace of its own, and to the directory: what is mounted dies with it.
_BEGIN: Final = r"""
import ctypes, os, stat, sys
top, options = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        sys.exit(f"{what}: {os.strerror(number)}")
check(libc.unshare(0x20000), "a mount namespace")
check(libc.mount(None, b"/", None, 0x44000, None), "private mounts")
os.chdir(top)  # a path in options is cut at commas, colons and backslashes
"""

#: Mounts an overlay, writes through it, removes through it.
_OVERLAY: Final = (
    _BEGIN
    + r"""
for name in ("lower", "upper", "work", "merged"):
    os.mkdir(name)
open("lower/file", "w").close()
data = f"lowerdir=lower,upperdir=upper,workdir=work,{options}"
check(libc.mount(b"overlay", b"merged", b"overlay", 0, data.encode()), "the mount")
try:
    open("merged/new", "w").close()
    os.unlink("merged/file")
    if not stat.S_ISCHR(os.lstat("upper/file").st_mode):
        sys.exit("a removed file left no whiteout")
finally:
    libc.umount2(b"merged", 2)
"""
)

#: Mounts the image in the directory, reads through it, and stacks an overlay on it.
_EROFS: Final = (
    _BEGIN
    + r"""
for name in ("seen", "upper", "work", "merged"):
    os.mkdir(name)
check(libc.mount(b"image", b"seen", b"erofs", 1, b"device=tar"), "an image in a file")
with open("seen/file") as file:
    if file.read() != "content":
        sys.exit("an image shows other content than was written")
data = f"lowerdir=seen,upperdir=upper,workdir=work,{options}"
check(libc.mount(b"overlay", b"merged", b"overlay", 0, data.encode()), "an overlay on an image")
try:
    with open("merged/file", "a") as file:
        file.write("more")
finally:
    libc.umount2(b"merged", 2)
    libc.umount2(b"seen", 2)
"""
)
_REASONS: Final = {
    "Block device required": "this kernel or file system mounts no images from files: it takes "
    "Linux 6.12 and a store on ext4, XFS or btrfs, not on a tmpfs or another overlayfs",
    "No such device": "this kernel has no EROFS",
}

#: Has an overlay served, in a mount namespace of its own, and writes through it.
_FUSE: Final = r"""
import os, stat, sys
library, top = sys.argv[1:]
sys.path.append(library)
from ocitool_runtime.sandbox import syscalls
from ocitool_runtime.sandbox.rootfs import fuse
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.make_slave()
for name in ("lower", "upper", "work"):
    os.mkdir(f"{top}/{name}")
open(f"{top}/lower/file", "w").close()
plan = {"type": fuse.TYPE, "attributes": 0, "lower": [f"{top}/lower"]}
plan |= {"upper": f"{top}/upper", "work": f"{top}/work"}
servers = fuse.Servers()
try:
    servers.start([plan])
except OSError as error:
    sys.exit(f"{error.filename}: {error.strerror}")
os.unlink("file", dir_fd=plan["served"])
servers.end()
try:
    found = os.lstat(f"{top}/upper/file")
except FileNotFoundError:
    sys.exit("a removed file left no whiteout, or one of another kind")
if not stat.S_ISCHR(found.st_mode):
    sys.exit("a removed file is still there")
"""
_ON_OVERLAY: Final = (
    "the store may lie on another overlayfs, as in a container: give --root a place on a volume or "
    "a tmpfs"
)


def initial_user_namespace() -> bool:
    """Say whether this process is in the machine's first user namespace, where root is root."""
    try:
        with open("/proc/self/uid_map", "rb") as maps:
            return maps.read().split() == [b"0", b"0", b"4294967295"]
    except OSError:
        return True  # a kernel without user namespaces


def try_erofs(home: str, options: Sequence[str]) -> Support:
    """Write an image beneath *home*, mount it, and stack an overlay on it."""
    import tempfile

    from ocitool.drivers.erofs_files import HolesFile
    from ocitool.layer.entry import Entry, Kind
    from ocitool.layer.erofs.convert import index
    from ocitool.layer.erofs.lower import Stack
    from ocitool.layer.tar.writer import TarWriter

    if os.geteuid() != 0 or not initial_user_namespace():
        return Support(ok=False, reason="only root may mount EROFS images", quiet=True)
    place = tempfile.mkdtemp(prefix="probe-", dir=home)
    try:
        with open(f"{place}/tar", "wb") as file:
            writer = TarWriter(file.write)
            writer.add(Entry("file", Kind.FILE, size=7))
            writer.content(b"content")
            writer.close()
        with open(f"{place}/tar", "rb", buffering=0) as tar, open(f"{place}/image", "wb") as file:
            file.write(index(tar, Stack(()), HolesFile(f"{place}/holes")).image)
        error = _run(_EROFS, place, ",".join(options))
    finally:
        remove_tree(place)
    if not error:
        return Support(ok=True, reason="EROFS images in files can be mounted here")
    for text, reason in _REASONS.items():
        if error.endswith(text):
            return Support(ok=False, reason=reason, quiet=True)
    return Support(ok=False, reason=f"EROFS does not work here: {error}", quiet=True)


def _run(program: str, *arguments: str) -> str:
    """Run Python code in a process of its own; returns its complaint, or nothing."""
    import subprocess

    words = [sys.executable, "-I", "-S", "-c", program, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def try_overlay(home: str, options: Sequence[str]) -> Support:
    """Mount an overlay beneath *home* and use it."""
    import tempfile

    place = tempfile.mkdtemp(prefix="probe-", dir=home)
    try:
        error = _run(_OVERLAY, place, ",".join(options))
    finally:
        remove_tree(place)
    if not error:
        return Support(ok=True, reason="overlayfs works here")
    hint = _ON_OVERLAY if "Invalid argument" in error else ""
    return Support(ok=False, reason=f"overlayfs does not work here: {error}", hint=hint)


def try_fuse(home: str) -> Support:
    """Have the program fuse-overlayfs serve an overlay beneath *home*, and use it."""
    import shutil
    import tempfile

    import ocitool_runtime

    if ":" in os.path.realpath(home):  # it joins the real paths of its directories with colons
        return Support(
            ok=False,
            reason="fuse-overlayfs takes no path with a colon, and the store's has one",
            hint="give --root a path without a colon",
        )
    if shutil.which("fuse-overlayfs") is None:
        return Support(
            ok=False,
            reason="the program fuse-overlayfs is not installed",
            hint="install the package fuse-overlayfs",
        )
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Support(
            ok=False,
            reason=f"/dev/fuse cannot be opened: {error.strerror}",
            hint="as root: modprobe fuse; chmod 0666 /dev/fuse",
        )
    library = os.path.dirname(os.path.dirname(os.path.realpath(ocitool_runtime.__file__)))
    place = tempfile.mkdtemp(prefix="probe-", dir=home)
    try:
        complaint = _run(_FUSE, library, place)
    finally:
        remove_tree(place)
    if not complaint:
        return Support(ok=True, reason="fuse-overlayfs works here")
    hint = _ON_OVERLAY if "no whiteout" in complaint else ""
    return Support(ok=False, reason=f"fuse-overlayfs does not work here: {complaint}", hint=hint)
