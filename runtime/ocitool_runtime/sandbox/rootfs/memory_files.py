"""Files of a sandbox that are no files of the host's: in memory, or sockets that the host serves.

Runs in: shim.  Imports only the standard library.
"""

from __future__ import annotations

import _socket
import os

from ocitool_runtime.sandbox.kernel.files import write_all
from ocitool_runtime.sandbox.kernel.syscalls import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocitool_runtime.sandbox.protocol.plan import MountPlan

#: Of `Mount`.
TYPES = ("file", "socket")
_BACKLOG = 128


def make(plan: MountPlan, directory: int, name: str = "made", *, owned: bool = True) -> str:
    """Make the file or socket *name* in the open *directory*, and return the name.

    Whoever it is for has no access before its owner and mode are those of the plan.  Without
    *owned* it belongs to this user, who is the only one.
    """
    options = {key: value or "" for key, value in plan["options"]}
    if plan["type"] == "file":
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            write_all(made, plan["content"])
        finally:
            os.close(made)
    else:
        _listen(plan["socket"], directory, name)
    if owned:
        owner = int(options.get("uid", "0")), int(options.get("gid", "0"))
        try:
            os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            wanted = f"{plan['target']} with uid={owner[0]} and gid={owner[1]}"
            raise Refused(error.errno or 0, "chown", wanted) from error
    os.chmod(name, int(options.get("mode", "600"), 8), dir_fd=directory)
    return name


def _listen(fd: int, directory: int, name: str) -> None:
    """Bind the socket *fd* in *directory*; an address is short (unix(7)), so from within."""
    os.set_inheritable(fd, False)
    end = _socket.socket(fileno=fd)  # the caller has its own descriptor of it
    mask = os.umask(0o177)
    try:
        os.fchdir(directory)
        end.bind(name)
        end.listen(_BACKLOG)
    finally:
        end.close()
        os.umask(mask)
        os.chdir("/")
