"""The program: found on the container's PATH, checked not to be the host's Python, executed.

Runs in: container init.  Imports only the standard library.
"""

from __future__ import annotations

import errno
import os
import stat

from ocitool_runtime.sandbox.kernel.files import mount_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SCRIPT_DEPTH = 6  # one more than the kernel follows (BINPRM_MAX_RECURSION)
_HEAD = 4096  # bytes; holds every program header that a linker writes


class NotRunnable(Exception):
    """The program cannot be run: the exit code that a shell would give, and why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def candidates(name: bytes, path: bytes) -> list[bytes]:
    """Return the paths to try for *name*: itself if it has a slash, else in each entry of *path*.

    An empty entry is the working directory for a shell; here it is nothing, as in Docker.
    """
    if not name:
        return []
    if b"/" in name:
        return [name]
    return [os.path.join(entry, name) for entry in path.split(b":") if entry]


class Interpreter:
    """The host's Python binary that this process executes, on its mount of the host.

    The same file in a volume does not count: the caller has decided what the container may do
    with its volumes.
    """

    def __init__(self) -> None:
        fd = os.open("/proc/self/exe", os.O_PATH | os.O_CLOEXEC)
        self.status = os.stat(fd)
        self._mount = mount_id(fd)
        os.close(fd)

    def is_at(self, path: bytes) -> bool:
        """Say whether *path* leads to it, and not to a bind mount of it."""
        if not os.path.samestat(os.stat(path), self.status):
            return False
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            return mount_id(fd) == self._mount
        finally:
            os.close(fd)


def refuse_interpreter(found: list[bytes], interpreter: Interpreter) -> None:
    """Refuse a program that would run *interpreter*.

    Until exec, /proc/self/exe is the host's; an image whose entrypoint is that, or a script or
    ELF file that has it as its interpreter, could open and overwrite it (CVE-2019-5736).
    """
    for path in found:
        if _leads_to(path, interpreter, _SCRIPT_DEPTH):
            text = f"exec {_text(path)}: refused: it leads to the Python interpreter of the host"
            raise NotRunnable(126, text)


def _leads_to(path: bytes, interpreter: Interpreter, depth: int) -> bool:
    try:
        if interpreter.is_at(path):
            return True
        if depth == 0 or not stat.S_ISREG(os.stat(path).st_mode):
            return False
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        following = _interpreter(fd)
    finally:
        os.close(fd)
    return bool(following) and _leads_to(following, interpreter, depth - 1)


def _interpreter(fd: int) -> bytes:
    """Return the interpreter that a script or an ELF file names, or b""."""
    head = os.read(fd, _HEAD)
    if head[:2] == b"#!":
        words = head[2:].split(b"\n", 1)[0].split(None, 1)
        return words[0] if words else b""
    if head[:4] != b"\x7fELF":
        return b""
    wide = head[4] == 2
    table = _integer(head, 32, 8) if wide else _integer(head, 28, 4)
    size = _integer(head, 54 if wide else 42, 2)
    count = _integer(head, 56 if wide else 44, 2)
    rows = os.pread(fd, size * count, table)
    for start in range(0, len(rows), size or 1):
        if _integer(rows, start, 4) == 3:  # PT_INTERP
            offset = _integer(rows, start + (8 if wide else 4), 8 if wide else 4)
            return os.pread(fd, _HEAD, offset).split(b"\0", 1)[0]
    return b""


def _integer(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "little")


def execute(args: list[bytes], environment: dict[bytes, bytes], found: list[bytes]) -> None:
    """Execute the first of *found* that can be; raises NotRunnable, and never returns."""
    denied: OSError | None = None
    for path in found:
        try:
            os.execve(path, args, environment)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            denied = error
            if error.errno != errno.EACCES:
                break
    raise refusal(args[0], found, denied, os.path.lexists)


def refusal(
    name: bytes, found: list[bytes], denied: OSError | None, exists: Callable[[bytes], bool]
) -> NotRunnable:
    """Return why none of *found* could be executed: *denied*, or else they are missing."""
    shown = _text(name)
    if denied is not None:
        return NotRunnable(126, f"exec {shown}: {_reason(denied)}")
    if len(found) == 1 and exists(found[0]):
        missing = "no such file or directory (its interpreter or loader is missing)"
        return NotRunnable(127, f"exec {shown}: {missing}")
    if b"/" in name:
        return NotRunnable(127, f"exec {shown}: no such file or directory")
    return NotRunnable(127, f"exec {shown}: executable file not found in $PATH")


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return "exec format error (made for another machine, or a script without #! line)"
    if error.errno == errno.EACCES and error.filename and _noexec(error.filename):
        where = "the store, choose another by --root," if _noexec(b"/") else "its file system"
        return f"permission denied ({where} is mounted noexec)"
    return (error.strerror or str(error)).lower()


def _noexec(path: bytes) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    except OSError:
        return False


def _text(name: bytes) -> str:
    return ascii(name.decode("utf-8", "replace"))[1:-1]
