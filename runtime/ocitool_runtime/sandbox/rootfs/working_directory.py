"""The working directory of a build's step, made if it is missing: it belongs to the step's user.

A container's belongs to root (`Rootfs.make_cwd`).
Runs in: shim.  Imports only the standard library.
Source: BuildKit, executor/runcexecutor/executor.go.
"""

from __future__ import annotations

import errno
import os

from ocitool_runtime.sandbox import users
from ocitool_runtime.sandbox.kernel import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import Plan
    from ocitool_runtime.sandbox.rootfs.mountpoints import MountPoints

#: Into /proc, through a file, on a read-only image: chdir(2) will fail with the reason.
IMPOSSIBLE = (errno.EXDEV, errno.ENOTDIR, errno.EROFS)


def make_for_user(points: MountPoints, plan: Plan) -> None:
    """Make the directories of the path that are missing, before anything is mounted on them."""
    try:
        made = points.make(plan["cwd"])
        if not made:
            return
        user = _user(points.root, plan["user"])
    except users.UnknownUser:  # the program will not start
        return
    except OSError as error:
        if error.errno not in IMPOSSIBLE:
            raise
        return
    for parent, name in made:
        if plan["owners_aside"]:
            from ocitool_runtime.sandbox.single_id import ownership

            ownership.give(f"/proc/self/fd/{parent}/{name}", user.uid, user.gid)
        else:
            os.chown(name, user.uid, user.gid, dir_fd=parent, follow_symlinks=False)


def _user(root: int, spec: str) -> users.User:
    """Return the user by the files below the open directory *root*."""
    opened = [_open(root, path) for path in ("etc/passwd", "etc/group")]
    try:
        passwd, group = (f"/proc/self/fd/{fd}" if fd >= 0 else "" for fd in opened)
        return users.resolve(spec, passwd, group)
    finally:
        for fd in opened:
            if fd >= 0:
                os.close(fd)


def _open(root: int, path: str) -> int:
    try:
        return syscalls.open_in_root(root, path)
    except OSError:  # as for the program: the file is missing
        return -1
