"""Detached mounts from their descriptions: overlay, bind and tmpfs.

Nothing is attached here, so nothing can be left behind on the host.
Runs in: shim; /proc: container init.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import os

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.kernel.syscalls import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import MountPlan

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PAGE = 4095  # bytes of options that mount(2) reads


def make(plan: MountPlan) -> int:
    """Return the root of a new detached mount; raises Refused."""
    kind = plan["type"]
    if plan["served"] >= 0:
        return plan["served"]
    if kind == "overlay" and (plan["upper"] or len(plan["lower"]) > 1):
        return _overlay(plan)
    if kind == "overlay":  # one layer, read-only: a bind mount shows the same
        attributes = plan["attributes"] | syscalls.RDONLY
        return bind(plan["lower"][0], attributes, recursive=False)
    if kind == "bind":
        return bind(plan["source"], plan["attributes"], plan["recursive"], plan["subpath"])
    return filesystem(kind, plan["attributes"], plan["options"])


def bind(source: str, attributes: int, recursive: bool, subpath: str = "") -> int:
    """Return a bind mount of *source*, or of *subpath* resolved within it and never beyond."""
    opened = os.open(source, os.O_PATH | os.O_CLOEXEC)
    try:
        return clone(opened, attributes, recursive=recursive, subpath=subpath)
    finally:
        os.close(opened)


def clone(fd: int, attributes: int, *, recursive: bool, subpath: str = "") -> int:
    """Return a bind mount of the open *fd*, or of *subpath* in it."""
    if subpath:
        inner = syscalls.open_in_root(fd, subpath)
        try:
            return clone(inner, attributes, recursive=recursive)
        finally:
            os.close(inner)
    mounted = syscalls.clone_tree(fd, recursive=recursive)
    if attributes:
        syscalls.mount_setattr(mounted, add=attributes, recursive=recursive)
    return mounted


def filesystem(kind: str, attributes: int, options: list[tuple[str, str | None]]) -> int:
    """Return a new file system of *kind*; an option without value is a flag."""
    context = syscalls.fsopen(kind)
    try:
        for key, value in options:
            syscalls.fsconfig(context, key, value)
        return _create(context, kind, attributes)
    finally:
        os.close(context)


def image(source: str, devices: list[str]) -> int:
    """Return a read-only mount of an EROFS image in a file, whose content is in *devices*.

    Kernels from 6.12 on mount files as they are; older ones refuse them (ENOTBLK).
    """
    context = syscalls.fsopen("erofs")
    try:
        opened = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in (source, *devices)]
        try:
            for key, fd in zip(("source", *["device"] * len(devices)), opened, strict=True):
                syscalls.fsconfig(context, key, f"/proc/self/fd/{fd}")
            return _create(context, "erofs", syscalls.RDONLY | syscalls.NODEV)
        finally:
            for fd in opened:
                os.close(fd)
    finally:
        os.close(context)


def _create(context: int, kind: str, attributes: int) -> int:
    try:
        return syscalls.fsmount(context, attributes)
    except Refused as error:
        raise Refused(error.errno or 0, error.syscall, f"{kind}{_log(context)}") from error


def _log(context: int) -> str:
    """Return the kernel's message on a failed mount (fsopen(2), "message retrieval")."""
    try:
        text = os.read(context, 1000)
    except OSError:
        return ""
    return ": " + text.decode("utf-8", "replace").strip()


def _overlay(plan: MountPlan) -> int:
    """Return an overlay; layers are passed as descriptors if the kernel supports that.

    A path in an option is cut at 256 bytes by fsconfig, and all of them together at one page by
    mount(2); a descriptor has no length.
    """
    layers = [os.open(path, _DIRECTORY) for path in plan["lower"]]
    over = [os.open(path, _DIRECTORY) for path in (plan["upper"], plan["work"]) if path]
    try:
        return _overlay_new(plan, layers, over)
    except Refused as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS) or error.syscall == "fsmount":
            raise
        return _overlay_old(plan, layers, over, error)
    finally:
        for fd in layers + over:
            os.close(fd)


def _overlay_new(plan: MountPlan, layers: list[int], over: list[int]) -> int:
    """Mount with fsconfig: ``lowerdir+`` is of Linux 6.5, its descriptors of 6.13."""
    context = syscalls.fsopen("overlay")
    try:
        for layer in layers:
            _layer(context, "lowerdir+", layer)
        for key, fd in zip(("upperdir", "workdir"), over, strict=False):
            _layer(context, key, fd)
        for option, value in plan["options"]:
            syscalls.fsconfig(context, option, value)
        return _create(context, "overlay", plan["attributes"])
    finally:
        os.close(context)


def _layer(context: int, key: str, fd: int) -> None:
    try:
        syscalls.fsconfig_fd(context, key, fd)
    except Refused as error:
        if error.errno != errno.EINVAL:
            raise
        syscalls.fsconfig(context, key, f"/proc/self/fd/{fd}")


def _overlay_old(plan: MountPlan, layers: list[int], over: list[int], first: Refused) -> int:
    """Mount with mount(2) on the topmost layer's directory, clone that mount, and unmount."""
    options = ["lowerdir=" + ":".join(f"/proc/self/fd/{fd}" for fd in layers)]
    options += [
        f"{k}=/proc/self/fd/{fd}" for k, fd in zip(("upperdir", "workdir"), over, strict=False)
    ]
    options += [key if value is None else f"{key}={value}" for key, value in plan["options"]]
    data = ",".join(options)
    if len(data) > _PAGE:
        raise Refused(errno.E2BIG, "mount", f"overlay of {len(layers)} layers") from first
    try:
        syscalls.mount("overlay", plan["lower"][0], "overlay", data)
    except Refused as error:
        # fsconfig(2) has named the cause in words: keep its message.
        raise Refused(error.errno or 0, error.syscall, first.filename or "overlay") from error
    attached = os.open(plan["lower"][0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounted = clone(attached, plan["attributes"], recursive=False)
    syscalls.detach(attached)
    os.close(attached)
    return mounted
