"""Removing for good what was taken out of use, in a process that nobody waits for.

A driver's ``remove`` and ``discard`` may rename what takes long to remove into the directory
``trash`` of its home, under any name that is free; so does the store with blobs.  Whatever lies
there belongs to nobody any more.

Called as ``python -m ocitool.drivers.trash DIRECTORY...``.  If the process is killed, what is left
waits for the next one; several at once do each other no harm.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Sequence
from typing import Final

from ocitool.errors import SandboxError
from ocitool.layer.beneath import remove_tree

NAME: Final = "trash"  # of the directory in a driver's home
_LOWEST: Final = 19  # nice(2), which the kernel's schedulers of disks heed, too
_FEW: Final = 500  # files and directories; some milliseconds
_PORTION: Final = 128  # blocks of 512 bytes, which take about as long as one file more
_started: list[int] = []  # processes whose end nobody has asked for


def start(directories: Sequence[str]) -> int:
    """Empty *directories* in a process that outlives this one; returns its id.

    It has no terminal and no stream of ours, so nobody who reads our output waits for it.
    """
    for process in list(_started):  # none stays a zombie for long
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
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    left -= 1 + entry.stat(follow_symlinks=False).st_blocks // _PORTION
                    if left < 0:
                        return False
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except FileNotFoundError:  # another removes it
            continue
        except PermissionError:  # of another id, or a directory that is closed even to its owner
            return False
    return True


def empty(directory: str) -> None:
    """Remove all that is in *directory* now and until the end; nothing if another is at it.

    As an ordinary user what belongs to the ids of containers is removed in a user namespace.
    """
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        # Who comes while another holds the lock leaves it to that one: so it looks once more
        # after it let go.
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
            remove_tree(f"{directory}/{name}")
        except PermissionError:
            if os.geteuid() == 0:
                raise
            _remove_in_user_namespace(f"{directory}/{name}")
        except OSError as error:
            # A worker whose owner was killed may write its last bytes there: once more, then.
            if error.errno != errno.ENOTEMPTY:
                raise


def _remove_in_user_namespace(place: str) -> None:
    from subprocess import DEVNULL

    from ocitool_runtime.host import userns

    code = "import sys; from ocitool.layer.beneath import remove_tree; remove_tree(sys.argv[1])"
    try:
        process = userns.spawn(
            [sys.executable, "-c", code, place],
            maps=userns.current_maps(),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=DEVNULL,
            env=_environment(),
        )
    except SandboxError as error:
        raise PermissionError(errno.EPERM, str(error), place) from error
    if process.wait():
        raise PermissionError(errno.EPERM, "cannot be removed in a user namespace", place)


def _command(directories: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "ocitool.drivers.trash", *directories]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def main() -> None:
    """Empty what the command line names."""
    os.closerange(3, 1 << 20)  # what the caller of our command left open to its children
    with contextlib.suppress(PermissionError):  # it leads a group already
        os.setsid()
    os.chdir("/")  # holds no file system
    os.nice(_LOWEST)
    for directory in sys.argv[1:]:
        with contextlib.suppress(OSError):  # nobody would read it; the next one tries again
            empty(directory)


if __name__ == "__main__":
    main()
