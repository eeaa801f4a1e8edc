"""Probes of what the kernel and the file system can do, in a process that leaves nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

from ocitool.drivers.driver import Support
from ocitool.layer.locks import temporary_directory
from ocitool.programs import find_program
from ocitool_runtime.host import LIBRARY

_PATIENCE: Final = 30  # seconds
#: Enters a mount namespace of its own, and the directory: what is mounted ends with the process.
#: Then it tries out something with the runtime's own functions.
_BEGIN: Final = r"""
import os, stat, sys
library, top, options = sys.argv[1:]
sys.path.append(library)
from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.rootfs import fuse, mounts
def attempt(step, call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        about = f"{error.filename}: " if error.filename else ""
        sys.exit(f"{step}: {about}{error.strerror}")
attempt("cannot make a mount namespace", syscalls.unshare, syscalls.CLONE_NEWNS)
attempt("cannot make mounts private", syscalls.make_slave)
os.chdir(top)  # a path in options is cut at commas, colons and backslashes
for name in ("lower", "upper", "work", "merged"):
    os.mkdir(name)
"""

#: Mounts an overlay, writes through it, removes through it.
_OVERLAY: Final = (
    _BEGIN
    + r"""
open("lower/file", "w").close()
data = f"lowerdir=lower,upperdir=upper,workdir=work,{options}"
attempt("cannot mount it", syscalls.mount, "overlay", "merged", "overlay", data)
open("merged/new", "w").close()
os.unlink("merged/file")
if not stat.S_ISCHR(os.lstat("upper/file").st_mode):
    sys.exit("a removed file left no whiteout")
"""
)

#: Mounts the image in the directory, reads through it, and stacks an overlay on it.
_EROFS: Final = (
    _BEGIN
    + r"""
image = attempt("cannot mount an image file", mounts.image, "image", ["tar"])
syscalls.move_mount(image, os.open("lower", os.O_PATH))
with open("lower/file") as file:
    if file.read() != "content":
        sys.exit("an image shows other content than was written")
data = f"lowerdir=lower,upperdir=upper,workdir=work,{options}"
attempt("cannot mount an overlay on an image", syscalls.mount, "overlay", "merged", "overlay", data)
with open("merged/file", "a") as file:
    file.write("more")
"""
)
_REASONS: Final = {
    "Block device required": "this kernel or file system cannot mount images from files: "
    "that needs Linux 6.12 and a store on ext4, XFS or btrfs, not on tmpfs or overlayfs",
    "No such device": "this kernel does not support EROFS",
}

#: Has an overlay served, and removes a file through it.
_FUSE: Final = (
    _BEGIN
    + r"""
open("lower/file", "w").close()
plan = {"type": fuse.TYPE, "attributes": 0, "lower": [f"{top}/lower"]}
plan |= {"upper": f"{top}/upper", "work": f"{top}/work"}
servers = fuse.FuseServers()
attempt("cannot mount it", servers.start, [plan])
os.unlink("file", dir_fd=plan["served"])
servers.end()
try:
    found = os.lstat(f"{top}/upper/file")
except FileNotFoundError:
    sys.exit("a removed file left no whiteout, or one of another kind")
if not stat.S_ISCHR(found.st_mode):
    sys.exit("a removed file is still there")
"""
)
_ON_OVERLAY: Final = (
    "the store may be on another overlayfs, as in a container: use --root with a directory on a "
    "volume or a tmpfs"
)


def initial_user_namespace() -> bool:
    """Say whether this process is in the initial user namespace."""
    try:
        with open("/proc/self/uid_map", "rb") as maps:
            return maps.read().split() == [b"0", b"0", b"4294967295"]
    except OSError:
        return True  # a kernel without user namespaces


def try_erofs(home: str, options: Sequence[str]) -> Support:
    """Write an image beneath *home*, mount it, and stack an overlay on it."""
    from ocitool.drivers.erofs_files import HolesFile
    from ocitool.layer.entry import Entry, Kind
    from ocitool.layer.erofs.convert import index
    from ocitool.layer.erofs.lower_layers import Stack
    from ocitool.layer.tar.writer import TarWriter

    if os.geteuid() != 0 or not initial_user_namespace():
        return Support(ok=False, reason="only root can mount EROFS images", quiet=True)

    def write_image(directory: str) -> None:
        with open(f"{directory}/tar", "wb") as file:
            writer = TarWriter(file.write)
            writer.add(Entry("file", Kind.FILE, size=7))
            writer.content(b"content")
            writer.close()
        with (
            open(f"{directory}/tar", "rb", buffering=0) as tar,
            open(f"{directory}/image", "wb") as file,
        ):
            file.write(index(tar, Stack(()), HolesFile(f"{directory}/holes")).image)

    error = _run(_EROFS, home, options, prepare=write_image)
    if not error:
        return Support(ok=True, reason="EROFS images can be mounted here")
    for text, reason in _REASONS.items():
        if error.endswith(text):
            return Support(ok=False, reason=reason, quiet=True)
    return Support(ok=False, reason=f"EROFS does not work here: {error}", quiet=True)


def try_overlay(home: str, options: Sequence[str]) -> Support:
    """Mount an overlay beneath *home* and use it."""
    error = _run(_OVERLAY, home, options)
    if not error:
        return Support(ok=True, reason="overlayfs works here")
    hint = _ON_OVERLAY if "Invalid argument" in error else ""
    return Support(ok=False, reason=f"overlayfs does not work here: {error}", hint=hint)


def try_fuse(home: str) -> Support:
    """Have fuse-overlayfs serve an overlay beneath *home*, and use it."""
    if ":" in os.path.realpath(home):  # it joins the real paths of its directories with colons
        return Support(
            ok=False,
            reason="fuse-overlayfs does not support a colon in the path of the store",
            hint="use --root with a path without a colon",
        )
    if find_program("fuse-overlayfs") is None:
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
    complaint = _run(_FUSE, home)
    if not complaint:
        return Support(ok=True, reason="fuse-overlayfs works here")
    hint = _ON_OVERLAY if "no whiteout" in complaint else ""
    return Support(ok=False, reason=f"fuse-overlayfs does not work here: {complaint}", hint=hint)


def probe_directory(home: str) -> AbstractContextManager[str]:
    """Return a context with a new directory in *home*, in which something is tried out."""
    return temporary_directory(home, "probe-")


def _run(
    program: str,
    home: str,
    options: Sequence[str] = (),
    *,
    prepare: Callable[[str], None] = lambda directory: None,
) -> str:
    """Run Python code in a process and a directory of its own; return its last error, or ``""``."""
    import subprocess

    with probe_directory(home) as directory:
        prepare(directory)
        words = [sys.executable, "-I", "-S", "-c", program, LIBRARY, directory, ",".join(options)]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {_PATIENCE} seconds"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
