"""A container in the foreground: the caller's streams or terminal, and signals passed on."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from select import POLLHUP, POLLIN, POLLOUT, poll
from types import FrameType
from typing import Final

from ocitool.errors import SandboxError
from ocitool_runtime.isolation import Isolation, Process, start
from ocitool_runtime.sandbox.files import write_all
from ocitool_runtime.spec import Exit, Sandbox, Stdio

_PASSED_ON: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
)
_BLOCK: Final = 1 << 16  # bytes
_Handler = Callable[[int, FrameType | None], None]


def run_foreground(
    isolation: Isolation,
    sandbox: Sandbox,
    *,
    interactive: bool,
    stdin: int = 0,
    stdout: int = 1,
    stderr: int = 2,
    on_start: Callable[[Process], None] | None = None,
) -> Exit:
    """Run *sandbox* to its end and return how it ended.

    Without a terminal the program gets the three descriptors themselves; without *interactive*
    its stdin is /dev/null.  With ``sandbox.terminal`` bytes are copied between the container's
    terminal and the descriptors; if *stdin* is a terminal it is raw meanwhile, its size is kept
    in step, and its mode is restored however this ends.

    HUP, INT, QUIT, TERM, USR1, USR2 and CONT go to the program, when called from the main thread
    (Python delivers signals to no other).  *on_start* gets the process once it runs.

    Raises:
        SandboxError: as `Isolation.start`.
    """
    process: Process | None = None
    early: list[int] = []  # signals that come before the process is started

    def pass_on(number: int, _: object) -> None:
        if process is None:
            early.append(number)
        else:
            process.kill(number)

    with _handlers(dict.fromkeys(_PASSED_ON, pass_on)):
        if sandbox.terminal:
            size = _size(stdin) or _size(stdout) or sandbox.terminal_size
            process = isolation.start(replace(sandbox, terminal_size=size), Stdio())
        else:
            given = stdin if interactive else None
            process = start(isolation, sandbox, stdin=given, stdout=stdout, stderr=stderr)
        try:
            for number in early:
                process.kill(number)
            if on_start is not None:
                on_start(process)
            if process.terminal is not None:
                _attach(process.terminal, stdin if interactive else -1, stdout)
            return process.wait()
        finally:
            process.close()


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let an interrupt within the block come at its end.

    Otherwise one that comes before a caller can end what it has started would leave it running.
    """
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield
        return
    came: list[int] = []
    with _handlers({signal.SIGINT: lambda number, _: came.append(number)}):
        yield
    if came:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _handlers(wanted: dict[signal.Signals, _Handler]) -> Iterator[None]:
    """Handle the signals so within the block; does nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _size(fd: int) -> tuple[int, int] | None:
    """Return (rows, columns) of the terminal *fd*, None for anything else."""
    if fd < 0:
        return None
    try:
        answer = fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return None
    rows, columns, _, _ = struct.unpack("HHHH", answer)
    return (rows, columns) if rows and columns else None


def _attach(master: int, stdin: int, stdout: int) -> None:
    """Copy both ways until the container's terminal hangs up."""

    def resize(_number: int, _frame: FrameType | None) -> None:
        size = _size(stdin) or _size(stdout)
        if size is not None:
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    with _handlers({signal.SIGWINCH: resize}), _raw(stdin):
        resize(0, None)  # it may have changed while the sandbox was made
        os.set_blocking(master, False)
        try:
            _pump(master, stdin, stdout)
        except OSError as error:
            raise SandboxError(f"cannot copy to the terminal: {error.strerror}") from error


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    """Set the terminal *fd* to raw mode within the block; does nothing for anything else."""
    if fd < 0 or not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _pump(master: int, stdin: int, stdout: int) -> None:
    """Copy until *master* hangs up.  Input that is not read does not block output."""
    waiting = b""
    while True:
        polled = poll()
        polled.register(master, POLLIN | (POLLOUT if waiting else 0))
        if stdin >= 0 and not waiting:
            polled.register(stdin, POLLIN)
        events = dict(polled.poll())
        if events.get(master, 0) & POLLOUT:
            waiting = waiting[_write_some(master, waiting) :]
        if events.get(master, 0) & (POLLIN | POLLHUP) and not _copy_out(master, stdout):
            return
        if stdin in events:
            waiting = _read_some(stdin)
            if not waiting:
                stdin = -1


def _write_some(master: int, data: bytes) -> int:
    try:
        return os.write(master, data)
    except BlockingIOError:
        return 0


def _read_some(stdin: int) -> bytes:
    try:
        return os.read(stdin, _BLOCK)
    except OSError:  # the caller's terminal is gone
        return b""


def _copy_out(master: int, stdout: int) -> bool:
    """Copy what there is; False at the end, which a master reports as EIO."""
    try:
        data = os.read(master, _BLOCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    write_all(stdout, data)
    return True
