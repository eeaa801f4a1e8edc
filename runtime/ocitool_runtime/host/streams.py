"""Streams that the program's user may open again, as /dev/stdout or /proc/self/fd/1.

The kernel opens the file behind such a link anew, as the user who asks (proc(5), /proc/pid/fd). A
pipe, file or terminal of the caller cannot be opened by another user, and a socket by nobody.
Docker's programs have pipes of their own; here they get one where the caller's stream would not do.
A program of root opens all of them, and may become another user (su, setpriv, gosu): for that the
caller's pipe is opened to all, where docker 20.10 says "Permission denied".
"""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from typing import Final, Self

from ocitool.errors import SandboxError
from ocitool_runtime.sandbox.kernel.files import write_all

_BLOCK: Final = 1 << 16  # bytes
_READABLE, _WRITABLE = stat.S_IROTH, stat.S_IWOTH


def open_pipe() -> tuple[int, int]:
    """Return the reading and the writing end of a pipe that every user may open again."""
    read, write = os.pipe2(os.O_CLOEXEC)
    os.fchmod(write, 0o666)
    return read, write


class ProgramStreams:
    """The streams of a program, and the threads that copy between them and the caller's.

    Use it in a ``with`` block; at its end all output has been passed on, so the program must have
    ended by then.

    Raises:
        SandboxError: output could not be written; for the program its reader was gone.
    """

    def __init__(self, user: str, *, stdin: int | None, stdout: int, stderr: int) -> None:
        self._root = _is_root(user)
        self._copies: list[_Copy] = []
        self._ends: list[int] = []  # of the program
        self.stdin = None if stdin is None else self._input(stdin)
        self.stdout = self._output(stdout)
        # What is one file for the caller stays one pipe, or lines would change their order.
        same = os.path.sameopenfile(stdout, stderr)
        self.stderr = self.stdout if same else self._output(stderr)

    def _output(self, fd: int) -> int:
        mode = os.fstat(fd).st_mode
        others = stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)  # perhaps not even root's to open
        if _opens(fd, mode, _WRITABLE) or (self._root and not others):
            return fd
        read, write = open_pipe()
        self._copies.append(_Copy(source=read, target=fd, owned=read))
        self._ends.append(write)
        return write

    def _input(self, fd: int) -> int:
        mode = os.fstat(fd).st_mode
        # Nothing but a file is read here: what the program leaves in it is nobody else's to read.
        if _opens(fd, mode, _READABLE) or self._root or not stat.S_ISREG(mode):
            return fd
        read, write = open_pipe()
        self._copies.append(_Copy(source=fd, target=write, owned=write))
        self._ends.append(read)
        return read

    def started(self) -> None:
        """Close the program's ends here, once it has them."""
        while self._ends:
            os.close(self._ends.pop())

    def __enter__(self) -> Self:
        for copy in self._copies:
            copy.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.started()
        for copy in self._copies:
            copy.join()
        for copy in self._copies:
            if copy.failed is not None and kind is None:
                raise SandboxError(
                    f"cannot write the output of the program: {copy.failed.strerror}"
                ) from copy.failed


def _is_root(user: str) -> bool:
    name = user.partition(":")[0]
    return name == "root" or not name.strip("0")


def _opens(fd: int, mode: int, bit: int) -> bool:
    """Say whether every user may open *fd* again; an anonymous pipe is made so."""
    if mode & bit:
        return not stat.S_ISSOCK(mode)
    # Reached through /proc alone, where only those may look who may trace the process.
    if not stat.S_ISFIFO(mode) or not os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"):
        return False
    try:
        os.fchmod(fd, 0o666)
    except PermissionError:  # another user has made it
        return False
    return True


class _Copy(threading.Thread):
    """Copies one stream to its end; *owned*, our end of the pipe, is closed then."""

    def __init__(self, *, source: int, target: int, owned: int) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._target = target
        self._owned = owned
        self.failed: OSError | None = None

    def run(self) -> None:
        try:
            while data := os.read(self._source, _BLOCK):
                write_all(self._target, data)
        except BrokenPipeError:  # its reader is gone: and the program learns it by SIGPIPE or EPIPE
            pass
        except OSError as error:
            self.failed = error
        finally:
            with suppress(OSError):
                os.close(self._owned)
