"""Errors of this package, and hints for what a kernel refuses."""

from __future__ import annotations

import errno
import signal
from typing import TYPE_CHECKING, Final

from ocitool.errors import SandboxError, SandboxUnavailable, SetupFailed
from ocitool_runtime.host.userns.subids import usermod_hint

if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.messages import StepFailed


class StepRefused(SetupFailed):
    """A system call was refused while the sandbox was set up.

    ``step`` is what was being done, ``syscall`` and ``path`` may be "", ``errno`` 0.
    """

    def __init__(self, step: str, *, syscall: str, number: int, path: str, text: str) -> None:
        about = f" ({syscall})" if syscall else ""
        subject = f" {path}:" if path else ""
        super().__init__(
            f"cannot {step}:{subject} {text}{about}", hint=remedy(step, syscall, number, path)
        )
        self.step = step
        self.syscall = syscall
        self.errno = number
        self.path = path


def refusal(message: StepFailed) -> StepRefused:
    """Return the error for a message of the shim."""
    return StepRefused(
        message.step,
        syscall=message.syscall,
        number=message.number,
        path=message.path,
        text=message.text,
    )


def killed(code: int, step: str) -> SandboxError:
    """Return the error for a shim that *code*, -n for signal n, has ended in *step* or sooner."""
    if code != -signal.SIGSYS:
        return SandboxError("the sandbox shim was killed during setup")
    text = "a seccomp filter killed the sandbox shim"
    return StepRefused(step, syscall="", number=errno.EPERM, path="", text=text)


class MapsUnavailable(SandboxUnavailable):
    """This user has no subordinate IDs, or no program that may map them."""


class NoPrivateNetwork(SandboxUnavailable):
    """A private network needs a program or a device that there is not."""

    def __init__(self, why: str, *, hint: str) -> None:
        super().__init__(f"a private network is not available: {why}", hint=hint)


class StillRunning(SandboxError):
    """The program has not ended within the timeout."""


_NO_USER_NAMESPACE: Final = (
    "user namespaces are switched off: as root, set kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu) or user.max_user_namespaces above 0"
)
_NO_NAMESPACE: Final = (
    "run as root with CAP_SYS_CHROOT, so that --isolation chroot works, or as a user that may make "
    "namespaces; inside another container, run that one with --security-opt seccomp=unconfined "
    "and, for root, --cap-add SYS_ADMIN"
)
_FILTERED: Final = (
    "a seccomp filter, probably of an outer container, refuses it: run that container as root, "
    "so that --isolation chroot works, or with --security-opt seccomp=unconfined, or install a "
    "plugin for PRoot (testdata/proot-plugin)"
)
_PERHAPS_FILTERED: Final = (
    "a seccomp filter, probably of an outer container, may refuse it: run that container with "
    "--security-opt seccomp=unconfined"
)
_OLD_KERNEL: Final = "this needs Linux 5.12 or later (openat2, mount_setattr)"
_NO_OVERLAY_HERE: Final = (
    "the upper directory of overlayfs cannot be on overlayfs or NFS: use --root with a directory "
    "on ext4, XFS, btrfs or tmpfs, or use --driver vfs"
)
_FEW_IDS: Final = (
    "the user namespace does not map this ID: give the user more subordinate IDs in /etc/subuid "
    "and /etc/subgid"
)
_NO_PROC: Final = (
    "the kernel refuses a new /proc inside a container that masks parts of its own: run the outer "
    "container with --security-opt systempaths=unconfined"
)
_LOCKED: Final = "other file systems are mounted beneath the source: use the option rbind"

_NO_FUSE: Final = (
    "fuse-overlayfs needs the program of that name, and /dev/fuse open to this user: install the "
    "package fuse-overlayfs, load the module fuse, or use --driver vfs"
)

_BY_STEP: Final = (
    ("make a user namespace", (errno.EPERM, errno.ENOSPC, errno.EUSERS), _NO_USER_NAMESPACE),
    ("make a mount namespace", (errno.EPERM, errno.EACCES), _NO_USER_NAMESPACE),
    ("make namespaces", (errno.EPERM,), _NO_NAMESPACE),
    ("make namespaces", (errno.ENOSPC,), "raise the limits in /proc/sys/user/max_*_namespaces"),
    ("start fuse-overlayfs", (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTCONN), _NO_FUSE),
    ("mount /proc", (errno.EPERM,), _NO_PROC),
    ("drop privileges", (errno.EINVAL,), _FEW_IDS),
    ("enter the working directory", (errno.ENOENT,), "name a directory that the container has"),
    (
        "make a cgroup",
        (0, errno.EBUSY, errno.EACCES, errno.EPERM, errno.ENOENT),
        "limits of resources need cgroups that this user may make; with cgroup v2 name one that has"
        " no processes: --cgroup-parent ocitool",
    ),
    (
        "change the user",
        (0,),
        "use names of the image's /etc/passwd and /etc/group, or numeric IDs",
    ),
    ("connect the private network", (0, errno.ETIMEDOUT), "use --network host"),
)


def remedy(step: str, syscall: str, number: int, path: str) -> str:
    """Return the hint for a refusal; "" if there is no general one."""
    filtered = _filtered()
    if number == errno.ENOSYS:
        if not filtered:
            return _OLD_KERNEL
        number = errno.EPERM  # filters answer so for calls that they do not know
    for prefix, numbers, text in _BY_STEP:
        if step.startswith(prefix) and number in numbers:
            if text == _FEW_IDS:
                return f"{text} ({usermod_hint('USER')})"
            return _FILTERED if text == _NO_USER_NAMESPACE and filtered else text
    if number == errno.EINVAL and syscall == "chown":
        return f"{_FEW_IDS} ({usermod_hint('USER')})"
    if path.startswith("overlay"):
        return _overlay(number)
    if number == errno.EINVAL and syscall == "open_tree":
        return _LOCKED
    if number == errno.EROFS:
        return "the file system there is read-only and lacks this mount point"
    if number in (errno.ENOTDIR, errno.EISDIR) and syscall in ("move_mount", "rename"):
        return "a directory is mounted on a directory, and a file on a file: choose another target"
    if number == errno.EXDEV:
        return "nothing can be mounted beneath /proc"
    return _PERHAPS_FILTERED if number == errno.EPERM and filtered else ""


def _filtered() -> bool:
    """Say whether a seccomp filter judges this process's system calls (proc(5))."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            return any(line.split() == ["Seccomp:", "2"] for line in lines)
    except OSError:
        return False


def _overlay(number: int) -> str:
    if number == errno.E2BIG:
        return "this kernel allows fewer layers: flatten the image, or use Linux 6.5 or later"
    if number == errno.ENODEV:
        return "the kernel does not support overlayfs: load the module overlay, or use --driver vfs"
    if number == errno.EPERM:
        return "overlayfs in a user namespace needs Linux 5.11 or later; otherwise use --driver vfs"
    return _NO_OVERLAY_HERE if number == errno.EINVAL else ""
