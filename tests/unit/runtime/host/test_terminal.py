"""Foreground runs: a terminal driven from outside, streams without one, signals passed on."""

from __future__ import annotations

import fcntl
import os
import pickle
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from functools import partial

import pytest

from ocitool_runtime import Exit, Sandbox, Stdio, get_isolation, run_foreground
from tests.fixtures.programs import python_environment

pytestmark = pytest.mark.slow

DRIVER = r"""
import os, pickle, sys
from ocitool_runtime import get_isolation, run_foreground
sandbox = pickle.loads(bytes.fromhex(sys.argv[1]))
ended = run_foreground(get_isolation(), sandbox, interactive=sys.argv[2] == "-i",
                       on_start=lambda process: os.write(1, b"started\n"))
os.write(1, b"ended %d %d\n" % (ended.code, ended.signal))
"""


@pytest.fixture
def drive():
    """Start programs that run a sandbox in their foreground, and end with the test."""
    started = []

    def start(sandbox, interactive, **options):
        words = [pickle.dumps(sandbox).hex(), "-i" if interactive else "-"]
        command = [sys.executable, "-c", DRIVER, *words]
        started.append(subprocess.Popen(command, env=python_environment(), **options))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


class Screen:
    """The outer end of a terminal, of which everything read is kept."""

    def __init__(self, fd):
        self.fd = fd
        self.text = ""
        self._seen = 0

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, text):
        """Read until *text* comes after what was waited for before."""
        while self.text.find(text, self._seen) < 0:
            assert select.select([self.fd], [], [], 60)[0], self.text  # a guard, not a measure
            self.text += os.read(self.fd, 4096).decode()
        self._seen = self.text.find(text, self._seen) + len(text)


@pytest.fixture
def screen():
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    yield Screen(outer), inner
    os.close(outer)
    os.close(inner)


@pytest.mark.parametrize("init", [False, True])
def test_a_shell_on_a_terminal(drive, make, screen, init):
    outer, inner = screen
    before = termios.tcgetattr(inner)
    sandbox = make(("sh",), terminal=True, init=init, env=("PATH=/bin", "PS1=$ "))
    driver = drive(sandbox, True, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
    outer.until("started")
    outer.until("$ ")
    outer.type("stty size; test -t 0 && test -c /dev/console && echo it-is-a-term''inal\n")
    outer.until("33 99")
    outer.until("it-is-a-terminal")
    assert termios.tcgetattr(inner)[3] & termios.ICANON == 0  # raw meanwhile

    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    driver.send_signal(signal.SIGWINCH)  # the kernel tells only a controlling terminal's group
    outer.type("while [ \"$(stty size)\" != '50 120' ]; do :; done; echo re''sized\n")
    outer.until("resized")

    # A child says it, which has the foreground by then: the shell itself may lose a signal.
    outer.type("sh -c \"echo be''gun; exec sleep 1000\"\n")
    outer.until("begun")
    outer.type("\x03")
    outer.until("$ ")
    outer.type("echo status-$?\n")
    outer.until("status-130")
    outer.type("exit 9\n")
    outer.until("ended 9 0")
    assert driver.wait(60) == 0
    assert termios.tcgetattr(inner) == before


def test_the_mode_is_restored_after_a_failure(drive, make, screen):
    outer, inner = screen
    before = termios.tcgetattr(inner)
    sandbox = make(("nowhere",), terminal=True)
    driver = drive(sandbox, True, stdin=inner, stdout=inner, stderr=inner)
    outer.until("ended 127 0")
    assert driver.wait(60) == 0
    assert termios.tcgetattr(inner) == before


def test_output_is_whole_when_the_program_ends_at_once(drive, make, screen):
    outer, inner = screen
    script = "i=0; while [ $i -lt 2000 ]; do echo line-$i; i=$((i+1)); done"
    driver = drive(make(script, terminal=True), False, stdin=inner, stdout=inner, stderr=inner)
    outer.until("line-1999")
    outer.until("ended 0 0")
    assert driver.wait(60) == 0


def test_streams_without_a_terminal(drive, make):
    pipe = subprocess.PIPE
    driver = drive(make("cat; echo end >&2; exit 3"), True, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = driver.communicate(b"in\n", timeout=60)
    assert sorted(out.split()) == sorted(b"started in ended 3 0".split())
    assert err == b"end\n"


def test_without_interactive_stdin_is_empty(drive, make):
    pipe = subprocess.PIPE
    driver = drive(make("cat; readlink /proc/self/fd/0"), False, stdin=pipe, stdout=pipe)
    out, _ = driver.communicate(b"secret\n", timeout=60)
    assert b"secret" not in out
    assert b"/dev/null" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_go_to_the_program(drive, make, number):
    script = f"trap 'exit 77' {int(number)}; echo ready; while :; do sleep 0.01; done"
    driver = drive(make(script), False, stdout=subprocess.PIPE)
    seen = {driver.stdout.readline(), driver.stdout.readline()}
    assert seen == {b"started\n", b"ready\n"}
    driver.send_signal(number)
    assert driver.stdout.read() == b"ended 77 0\n"
    assert driver.wait(60) == 0
    driver.stdout.close()


def test_signals_arrive_that_the_caller_was_started_with_blocked(drive, make):
    """As with docker, whose runtime unblocks what it handles."""
    script = "trap 'exit 77' TERM; echo ready; while :; do sleep 0.01; done"
    block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGTERM})
    driver = drive(make(script), False, stdout=subprocess.PIPE, preexec_fn=block)
    assert {driver.stdout.readline(), driver.stdout.readline()} == {b"started\n", b"ready\n"}
    driver.send_signal(signal.SIGTERM)
    assert driver.stdout.read() == b"ended 77 0\n"
    assert driver.wait(60) == 0
    driver.stdout.close()


def test_in_a_thread(make):
    """No signal can be handled there, and all else works."""
    found = []
    thread = threading.Thread(
        target=lambda: found.append(
            run_foreground(get_isolation(), make("exit 5"), interactive=False)
        )
    )
    thread.start()
    thread.join()
    assert found[0].code == 5


def test_a_terminal_without_a_reader(make):
    process = get_isolation().start(make("echo hello", terminal=True), Stdio())
    data = b""
    while True:
        try:
            data += os.read(process.terminal, 100)
        except OSError:
            break
    assert data == b"hello\r\n"
    assert process.wait(60).code == 0
    assert process.terminal is None


def test_a_signal_that_comes_while_the_sandbox_begins_is_not_lost():
    class Recorded:
        terminal = None
        signals = ()

        def kill(self, number):
            self.signals += (number,)

        def wait(self):
            return Exit(code=0)

        def close(self):
            pass

    class Slow:
        def start(self, sandbox, stdio):
            os.kill(os.getpid(), signal.SIGTERM)
            return process

    process = Recorded()
    sandbox = Sandbox(rootfs=(), args=("true",))
    assert run_foreground(Slow(), sandbox, interactive=False).code == 0
    assert process.signals == (signal.SIGTERM,)


@pytest.mark.parametrize("numbers", [(signal.SIGINT,) * 3, (signal.SIGTERM, signal.SIGINT) * 2])
def test_the_third_request_to_end_kills_a_program_that_does_not_end(drive, make, numbers):
    """It says what it gets: two signals of a kind that nobody has handled yet are one."""
    script = "trap 'echo got it' INT TERM; echo ready; while :; do sleep 0.01; done"
    driver = drive(make(script), False, stdout=subprocess.PIPE)
    assert {driver.stdout.readline(), driver.stdout.readline()} == {b"started\n", b"ready\n"}
    for number in numbers[:2]:
        driver.send_signal(number)
        assert driver.stdout.readline() == b"got it\n"
    driver.send_signal(numbers[2])
    assert driver.stdout.read() == b"ended 1 9\n"
    assert driver.wait(60) == 0
    driver.stdout.close()
