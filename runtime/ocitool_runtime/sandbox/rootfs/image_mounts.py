"""Images that are mounted on the host once, for all containers that use them.

Containers that share a mount share its page cache.  Every shim that uses a mount holds its lock,
which the kernel drops when the shim ends; the last one unmounts.  What a killed shim has left
mounted, `sweep` unmounts.

    DIRECTORY/            locked while an image is mounted or unmounted
    DIRECTORY/NAME        where the image is mounted
    DIRECTORY/NAME.lock   locked (shared) by all who use the mount

Runs in: shim; `sweep`: host process.  Imports only the standard library.
"""

from __future__ import annotations

import fcntl
import os

from ocitool_runtime.sandbox.kernel import syscalls
from ocitool_runtime.sandbox.rootfs import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import SharedPlan

_LOCK = ".lock"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class SharedMounts:
    """The images that one sandbox uses, from `hold` to `release`."""

    def __init__(self, plans: list[SharedPlan]) -> None:
        self._plans = plans
        self._held: list[tuple[str, int]] = []
        self._home = -1

    def hold(self) -> None:
        """Mount the images that are not mounted, and keep all of them mounted."""
        if self._plans:
            self._home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        for plan in self._plans:
            target = plan["target"]
            directory = _lock_directory(os.path.dirname(target))
            try:
                lock = os.open(target + _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._held.append((target, lock))
                fcntl.flock(lock, fcntl.LOCK_SH)
                if not _is_mounted(target):
                    _mount(plan)
            finally:
                os.close(directory)

    def release(self) -> None:
        """Go back to the host's mount namespace, and unmount what nobody else uses."""
        if self._home >= 0:
            syscalls.join_mounts(self._home)
            os.close(self._home)
            self._home = -1
        while self._held:
            target, lock = self._held.pop()
            directory = _lock_directory(os.path.dirname(target))
            try:
                _unmount_unused(target, lock)
            finally:
                os.close(lock)
                os.close(directory)


def is_orphaned(target: str) -> bool:
    """Say whether *target* is mounted although no sandbox uses it.

    The directory is locked meanwhile, so that nobody mounts or unmounts: the lock that is tried
    here would look like that of another user of the mount.
    """
    try:
        directory = _lock_directory(os.path.dirname(target))
    except FileNotFoundError:
        return False
    try:
        return _is_mounted(target) and not _is_held(target)
    finally:
        os.close(directory)


def _is_held(target: str) -> bool:
    try:
        lock = os.open(target + _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def sweep(directory: str) -> int:
    """Unmount what killed shims have left in *directory*; returns how many mounts."""
    count = 0
    locked = _lock_directory(directory)
    try:
        names = {name.removesuffix(_LOCK) for name in os.listdir(directory)}
        for name in sorted(names):
            target = f"{directory}/{name}"
            lock = os.open(target + _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                count += _unmount_unused(target, lock)
            finally:
                os.close(lock)
    finally:
        os.close(locked)
    return count


def _mount(plan: SharedPlan) -> None:
    if not os.path.isdir(plan["target"]):  # it exists after a power cut
        os.mkdir(plan["target"], 0o755)
    mounted = mounts.image(plan["source"], plan["devices"])
    target = os.open(plan["target"], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        syscalls.move_mount(mounted, target)
    finally:
        os.close(target)
        os.close(mounted)


def _unmount_unused(target: str, lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    found = os.path.isdir(target) and _is_mounted(target)
    if os.path.isdir(target):
        syscalls.unmount_path(target)
        os.rmdir(target)
    os.unlink(target + _LOCK)
    return found


def _is_mounted(target: str) -> bool:
    try:
        return os.stat(target).st_dev != os.stat(os.path.dirname(target)).st_dev
    except FileNotFoundError:
        return False


def _lock_directory(directory: str) -> int:
    """Return an open descriptor of *directory*, locked: one process at a time changes mounts."""
    fd = os.open(directory, _DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd
