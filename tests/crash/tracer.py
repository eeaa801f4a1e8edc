"""Runs a program and kills it at its N-th change: the same N, the same place.

A seccomp filter stops every process and thread of the program at each call of `tests.crash.calls`,
and this tracer counts them all together; strace counts each thread by itself.

Source: ptrace(2), seccomp(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tests.crash.calls import NAMES, PATHS, stop_at_changes

_TRACEME, _CONT, _SETOPTIONS, _MESSAGE, _CALL = 0, 7, 0x4200, 0x4201, 0x420E
_EXEC_EVENT, _SECCOMP_EVENT = 4, 7
#: Forks, vforks, clones, execs, filters; and who is traced dies with its tracer.
_OPTIONS: Final = 0x2 | 0x4 | 0x8 | 0x10 | 0x80 | 0x100000
_ALL_KINDS: Final = 0x40000000  # __WALL: threads, too
_PATIENCE: Final = 60.0  # seconds

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


Whom = Literal["main", "all", "caller"]
"""Who is killed: the process that was started, all of them, or the one that makes the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """How a program ended.  ``place`` is the call at which it was killed, "" if it was not."""

    code: int  # negative: the signal that ended it
    changes: int
    place: str = ""
    left: int = 0  # processes that did not end by themselves, and were killed


class Tracer:
    """One run of one program, from `start` to its end."""

    def __init__(self, at: int = 0, whom: Whom = "main") -> None:
        self._at = at
        self._whom = whom
        self._main = 0
        self._code = 0
        self._known: set[int] = set()
        self._count = 0
        self._place = ""

    def run(self, words: Sequence[str], env: Mapping[str, str], log: str) -> Traced:
        """Run the program to the end of all its processes; what it says goes to *log*.out, .err."""
        self._main = _spawn(words, env, log)
        self._known.add(self._main)
        os.waitpid(self._main, 0)  # it waits to be traced
        _ptrace(_SETOPTIONS, self._main, _OPTIONS)
        _ptrace(_CONT, self._main, 0)
        left = self._follow()
        return Traced(code=self._code, changes=self._count, place=self._place, left=left)

    def _follow(self) -> int:
        deadline = time.monotonic() + _PATIENCE
        left = 0
        while self._known:
            try:
                pid, status = os.waitpid(-1, _ALL_KINDS | os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                if time.monotonic() > deadline and not left:
                    left = len(self._known)
                    self._kill_all()
                time.sleep(0.0002)
            elif os.WIFSTOPPED(status):
                self._stopped(pid, status)
            else:
                self._known.discard(pid)
                if pid == self._main:
                    self._code = os.waitstatus_to_exitcode(status)
        return left

    def _stopped(self, pid: int, status: int) -> None:
        event, number = status >> 16, os.WSTOPSIG(status)
        if event == _SECCOMP_EVENT:
            self._count += 1
            if self._count == self._at:
                self._place = _place(pid)
                self._strike(pid)
        if pid not in self._known:  # its first stop, whatever it is reported with
            self._known.add(pid)
            number = signal.SIGSTOP
            if self._place and self._whom == "all":
                _kill(pid)
        if event or number in (signal.SIGTRAP, signal.SIGSTOP):
            number = 0
        _ptrace(_CONT, pid, number)

    def _strike(self, caller: int) -> None:
        if self._whom == "all":
            self._kill_all()
        else:
            _kill(self._main if self._whom == "main" else caller)

    def _kill_all(self) -> None:
        for pid in self._known:
            _kill(pid)


def _spawn(words: Sequence[str], env: Mapping[str, str], log: str) -> int:
    """Start a program that waits for its tracer, and from then on stops at each change."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        new = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        out, err = (os.open(f"{log}.{kind}", new, 0o600) for kind in ("out", "err"))
        for fd, number in ((null, 0), (out, 1), (err, 2)):
            os.dup2(fd, number)
        os.closerange(3, 256)
        _ptrace(_TRACEME, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        stop_at_changes()
        os.execve(words[0], list(words), dict(env))
    finally:
        os._exit(127)


def _ptrace(request: int, pid: int, data: int) -> None:
    """Do one thing to a traced process; one that was killed meanwhile is reported by waitpid(2)."""
    if _libc.ptrace(request, pid, None, data) < 0 and request != _CONT:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {pid}")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _place(pid: int) -> str:
    """Return the call that a stopped process is about to make, and its path or descriptor."""
    buffer = ctypes.create_string_buffer(128)
    size = _libc.ptrace(_CALL, pid, len(buffer), ctypes.cast(buffer, ctypes.c_void_p))
    if size < 84:  # struct ptrace_syscall_info, with its seccomp part
        return "?"
    arguments = struct.unpack_from("6Q", buffer, 32)
    (at,) = struct.unpack_from("I", buffer, 80)
    where = PATHS[at]
    if where is not None:
        return f"{NAMES[at]} {_text(pid, arguments[where])}"
    try:
        return f"{NAMES[at]} {os.readlink(f'/proc/{pid}/fd/{arguments[0] & 0xFFFFFFFF}')}"
    except OSError:
        return NAMES[at]


def _text(pid: int, address: int) -> str:
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(256).split(b"\0")[0].decode("utf-8", "backslashreplace")
    except OSError:
        return "?"
