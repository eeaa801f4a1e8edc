"""The trash: directories that are out of use are removed by a process that nobody waits for.

A driver's ``remove`` and ``discard`` may rename what takes long to remove into the directory
``trash`` of its own directory, under any free name; so does the store with blobs.  Nothing refers
to what is there.

Called as ``python -P -m ocitool.drivers.trash DIRECTORY...``.  If the process is killed, the next
one removes what is left; several may run at once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import sys
from collections.abc import Sequence
from typing import Final

from ocitool.errors import SandboxError
from ocitool.layer.beneath import remove_tree

NAME: Final = "trash"  # of the directory in a driver's home
_LOWEST: Final = 19  # nice(2), which I/O schedulers respect, too
_FEW: Final = 500  # files and directories; some milliseconds
_PORTION: Final = 128  # blocks of 512 bytes, which take about as long as one file more
_started: list[int] = []  # processes that were not waited for


def start(directories: Sequence[str]) -> int:
    """Empty *directories* in a process that outlives this one; return its PID.

    It has no terminal and none of our streams, so whoever reads our output does not wait for it.
    """
    for process in list(_started):  # so that none stays a zombie for long
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(process, os.WNOHANG) == (0, 0):
                continue
        _started.remove(process)
    streams = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
    process = os.posix_spawn(
        sys.executable, _command(directories), _environment(), file_actions=streams
    )
    _started.append(process)
    return process


def is_small(directory: str) -> bool:
    """Say whether emptying *directory* costs less than starting a process for it."""
    left = _FEW
    todo = [directory]
    while todo and left >= 0:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in itertools.islice(entries, left + 1):
                    left -= 1 + entry.stat(follow_symlinks=False).st_blocks // _PORTION
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except FileNotFoundError:  # another process removes it
            continue
        except OSError:  # of another ID, without permissions, or deeper than a path can say
            return False
    return left >= 0


def empty(directory: str) -> None:
    """Remove all that is in *directory*; do nothing if another process is doing that.

    For an ordinary user, files of subordinate IDs are removed in a user namespace.
    """
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        # A process that finds the lock taken leaves the work to its holder, which therefore looks
        # once more after it has released the lock.
        while os.listdir(directory) and _locked(fd):
            try:
                _remove_all(directory)
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_all(directory: str) -> None:
    for name in os.listdir(directory):
        try:
            remove(f"{directory}/{name}")
        except OSError as error:
            # A worker whose owner was killed may still write there: the next round removes it.
            if error.errno != errno.ENOTEMPTY:
                raise


def remove(path: str) -> None:
    """Remove a file or a tree; an ordinary user removes files of subordinate IDs, too.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        remove_tree(path)
    except PermissionError:
        if os.geteuid() == 0:
            raise
        _remove_in_user_namespace(path)


def _remove_in_user_namespace(path: str) -> None:
    from subprocess import DEVNULL

    from ocitool_runtime.host.userns import userns

    code = "import sys; from ocitool.layer.beneath import remove_tree; remove_tree(sys.argv[1])"
    try:
        process = userns.spawn(
            [sys.executable, "-P", "-c", code, path],
            maps=userns.current_maps(),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
            env=_environment(),
        )
    except SandboxError as error:
        raise PermissionError(errno.EPERM, str(error), path) from error
    if process.wait():
        raise PermissionError(errno.EPERM, "removal in a user namespace failed", path)


def _command(directories: Sequence[str]) -> list[str]:
    # With -P no module comes from the working directory, which may be anybody's.
    return [sys.executable, "-P", "-m", "ocitool.drivers.trash", *directories]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def main() -> None:
    """Empty the directories on the command line."""
    os.closerange(3, 1 << 20)  # descriptors that our caller has left inheritable
    with contextlib.suppress(PermissionError):  # it leads a group already
        os.setsid()
    os.chdir("/")  # keeps no file system mounted
    os.nice(_LOWEST)
    for directory in sys.argv[1:]:
        with contextlib.suppress(OSError):  # nobody would read it; the next process tries again
            empty(directory)


if __name__ == "__main__":
    main()
