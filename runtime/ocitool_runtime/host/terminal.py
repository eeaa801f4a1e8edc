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
from ocitool_runtime.host.launch import SIGNAL_LATENCY
from ocitool_runtime.host.streams import ProgramStreams
from ocitool_runtime.isolation import Isolation, Process, start
from ocitool_runtime.sandbox.kernel.files import write_all
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
_PATIENCE: Final = 3  # SIGINT or SIGTERM, after which the program is killed (docker/cli)
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

    Without a terminal the program gets the three descriptors themselves, or pipes where its user
    could not open them (`ProgramStreams`); without *interactive* its stdin is /dev/null.  With
    ``sandbox.terminal`` bytes are copied between the container's terminal and the descriptors; if
    *stdin* is a terminal it is raw meanwhile, its size is kept in step, and its mode is restored
    however this ends.

    HUP, INT, QUIT, TERM, USR1, USR2 and CONT go to the program, when called from the main thread
    (Python delivers signals to no other); in place of the third INT or TERM it is killed.
    *on_start* gets the process once it runs.

    Raises:
        SandboxError: as `Isolation.start`.
    """
    signals = _Signals()
    given = stdin if interactive else None
    with _handlers(dict.fromkeys(_PASSED_ON, signals.pass_on)):
        if sandbox.terminal:
            size = _size(stdin) or _size(stdout) or sandbox.terminal_size
            process = isolation.start(replace(sandbox, terminal_size=size), Stdio())
            return signals.result(_wait(process, signals, on_start, given, stdout))
        with ProgramStreams(sandbox.user, stdin=given, stdout=stdout, stderr=stderr) as streams:
            process = start(
                isolation,
                sandbox,
                stdin=streams.stdin,
                stdout=streams.stdout,
                stderr=streams.stderr,
            )
            streams.started()
            ended = _wait(process, signals, on_start, given, stdout)
        return signals.result(ended)


def _wait(
    process: Process,
    signals: _Signals,
    on_start: Callable[[Process], None] | None,
    stdin: int | None,
    stdout: int,
) -> Exit:
    try:
        signals.go_to(process)
        if on_start is not None:
            on_start(process)
        if process.terminal is not None:
            _attach(process.terminal, -1 if stdin is None else stdin, stdout)
        return process.wait()
    finally:
        process.close()


class _Signals:
    """Passes signals on to a process, those before its start, too; the third INT or TERM kills it.

    Docker's client ends at the third with exit code 1, for programs that ignore the first two.
    """

    def __init__(self) -> None:
        self._process: Process | None = None
        self._early: list[int] = []
        self._asked = 0  # to end

    def go_to(self, process: Process) -> None:
        """Send what has come, and from now on all, to *process*."""
        self._process = process
        for number in self._early:
            self.pass_on(number, None)

    def pass_on(self, number: int, _: object) -> None:
        """Handle a signal."""
        if self._process is None:
            self._early.append(number)
            return
        self._asked += number in (signal.SIGINT, signal.SIGTERM)
        self._process.kill(number if self._asked < _PATIENCE else signal.SIGKILL)

    def result(self, ended: Exit) -> Exit:
        """Return *ended*, or what docker's client says if the program was killed here."""
        if self._asked < _PATIENCE or ended.signal != signal.SIGKILL:
            return ended
        text = f"got {_PATIENCE} SIGTERM/SIGINTs, forcefully exiting: the container was killed"
        return replace(ended, code=1, error=text)


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
    """Handle the signals so within the block; does nothing outside of the main thread.

    They are unblocked meanwhile: this process may have inherited a mask from one that waits for
    signals in a thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
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
        events = dict(polled.poll(1000 * SIGNAL_LATENCY))
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
