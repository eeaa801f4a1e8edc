"""Images that are mounted on the host once, for all containers that stand on them.

Containers that share a mount share its page cache.  Who needs an image holds the lock of its
place, which the kernel drops with its process; the last one takes the mount off.  What a killed
process has left is taken off by `sweep`.

    DIRECTORY/            its lock is held while places are taken or given back
    DIRECTORY/NAME        where the image is shown
    DIRECTORY/NAME.lock   locked by all who need it

The standard library alone: this runs before the sandbox is made.
"""

from __future__ import annotations

import fcntl
import os

from ocitool_runtime.sandbox import syscalls
from ocitool_runtime.sandbox.rootfs import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.plan import SharedPlan

_LOCK = ".lock"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Shared:
    """The images that one sandbox needs, from `hold` to `release`."""

    def __init__(self, plans: list[SharedPlan]) -> None:
        self._plans = plans
        self._held: list[tuple[str, int]] = []
        self._home = -1

    def hold(self) -> None:
        """Show the images that are not shown yet, and keep all of them."""
        if self._plans:
            self._home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        for plan in self._plans:
            target = plan["target"]
            directory = _alone(os.path.dirname(target))
            try:
                lock = os.open(target + _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._held.append((target, lock))
                fcntl.flock(lock, fcntl.LOCK_SH)
                if not _is_mounted(target):
                    _show(plan)
            finally:
                os.close(directory)

    def release(self) -> None:
        """Take off what nobody needs any more, on the host, wherever this process is by now."""
        if self._home >= 0:
            syscalls.join_mounts(self._home)
            os.close(self._home)
            self._home = -1
        while self._held:
            target, lock = self._held.pop()
            directory = _alone(os.path.dirname(target))
            try:
                _take_off(target, lock)
            finally:
                os.close(lock)
                os.close(directory)


def is_left_behind(target: str) -> bool:
    """Say whether *target* is still mounted, and nobody needs it.

    The directory is locked meanwhile: nobody is about to mount or unmount, and a last user who
    lets go does not take the lock that this looks at for that of another user.
    """
    try:
        directory = _alone(os.path.dirname(target))
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
    """Take off what killed processes have left in *directory*; returns how many mounts."""
    count = 0
    alone = _alone(directory)
    try:
        names = {name.removesuffix(_LOCK) for name in os.listdir(directory)}
        for name in sorted(names):
            target = f"{directory}/{name}"
            lock = os.open(target + _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                count += _take_off(target, lock)
            finally:
                os.close(lock)
    finally:
        os.close(alone)
    return count


def _show(plan: SharedPlan) -> None:
    if not os.path.isdir(plan["target"]):  # it is, after the machine was switched off
        os.mkdir(plan["target"], 0o755)
    mounted = mounts.image(plan["source"], plan["devices"])
    target = os.open(plan["target"], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        syscalls.move_mount(mounted, target)
    finally:
        os.close(target)
        os.close(mounted)


def _take_off(target: str, lock: int) -> bool:
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


def _alone(directory: str) -> int:
    """Return the locked *directory*: places are taken and given back by one at a time."""
    fd = os.open(directory, _DIRECTORY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd
