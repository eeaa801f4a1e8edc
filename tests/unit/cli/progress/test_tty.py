"""The drawing renderer: its state, its rows, and its output on a pseudo terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest
from rich.console import Console

from ocitool.cli.progress.rows import rows_of
from ocitool.cli.progress.state import ProgressState
from ocitool.cli.progress.tty import Tty
from ocitool.progress import (
    CheckWarning,
    Event,
    Notice,
    StepErred,
    StepFinished,
    StepOutput,
    StepStarted,
    Transfer,
)

BLOB = "sha256:" + "0123456789ab" * 5 + "cdef"


def progress_state(*events: tuple[float, Event]) -> ProgressState:
    result = ProgressState(0.0)
    for now, event in events:
        result.take(event, now)
    return result


BUILD = (
    (0.0, StepStarted(step=1, name="[1/3] FROM x")),
    (0.0, StepFinished(step=1, seconds=0.0, cached=True)),
    (0.0, StepStarted(step=2, name="[2/3] RUN make")),
    (1.0, StepOutput(step=2, data=b"".join(b"line %d\n" % n for n in range(30)))),
)


def test_a_running_build() -> None:
    rows = rows_of(progress_state(*BUILD), 2.0)
    assert [(row.text, row.right) for row in rows] == [
        ("[+] Building 2.0s (1/2)", ""),
        (" => CACHED [1/3] FROM x", "0.0s"),
        (" => [2/3] RUN make", "2.0s"),
        *((f" => => # line {n}", "") for n in range(25, 30)),
    ]


def test_the_output_of_a_failed_step_stays() -> None:
    failed = progress_state(*BUILD, (3.0, StepErred(step=2, message="exit code: 1")))
    rows = rows_of(failed, 3.0, final=True)
    assert rows[0].text == "[+] Building 3.0s FAILED"
    assert rows[2].text == " => ERROR [2/3] RUN make"
    assert [row.text for row in rows[3:]] == [f" => => # line {n}" for n in range(10, 30)]


def test_the_end_of_a_build() -> None:
    ended = progress_state(*BUILD, (3.0, StepFinished(step=2, seconds=3.0)))
    assert [row.text for row in rows_of(ended, 3.0, final=True)] == [
        "[+] Building 3.0s FINISHED",
        " => CACHED [1/3] FROM x",
        " => [2/3] RUN make",
    ]
    stopped = progress_state(*BUILD, (3.0, StepErred(step=2, message="canceled", canceled=True)))
    first, *_, last = rows_of(stopped, 9.0, final=True, error=KeyboardInterrupt())
    assert first.text == "[+] Building 9.0s CANCELED"
    assert (last.text, last.right) == (" => CANCELED [2/3] RUN make", "3.0s")
    stopped = rows_of(progress_state(*BUILD), 3.0, final=True)
    assert [row.text for row in stopped[-1:]] == [" => CANCELED [2/3] RUN make"]


def test_a_build_that_ends_between_two_steps() -> None:
    ended = progress_state(*BUILD, (3.0, StepFinished(step=2, seconds=3.0)))
    labels = {KeyboardInterrupt(): "CANCELED", OSError(): "FAILED", None: "FINISHED"}
    for error, label in labels.items():
        assert rows_of(ended, 3.0, final=True, error=error)[0].text.endswith(f" {label}")


def test_a_low_terminal_loses_finished_steps_first() -> None:
    rows = rows_of(progress_state(*BUILD), 2.0, height=5)
    assert [row.text for row in rows] == [
        "[+] Building 2.0s (1/2)",
        " => [2/3] RUN make",
        " => => # line 27",
        " => => # line 28",
        " => => # line 29",
    ]
    assert len(rows_of(progress_state(*BUILD), 2.0, height=1)) == 1


def test_a_transfer_shows_speed_and_time_left() -> None:
    running = progress_state(
        (0.0, Transfer(key=BLOB, action="pull", done=0, total=30_000_000)),
        (1.0, Transfer(key=BLOB, action="pull", done=5_000_000, total=30_000_000)),
        (2.0, Transfer(key=BLOB, action="pull", done=10_000_000, total=30_000_000)),
    )
    (row,) = rows_of(running, 2.0, fancy=False)
    assert row.text == "sha256:0123456789ab  pull    ========----------------  33%"
    assert row.right == "10MB / 30MB  5MB/s  ETA 4.0s"
    (row,) = rows_of(running, 2.0)
    assert "━" in row.text
    (row,) = rows_of(running, 2.0, final=True)
    assert row.text.endswith("canceled")


def test_transfers_of_unknown_size_and_ended_ones() -> None:
    rows = rows_of(
        progress_state(
            (0.0, Transfer(key=BLOB, action="pull", done=7)),
            (0.0, Transfer(key="a", action="push", state="mounted")),
            (0.0, Transfer(key="b", action="pull", done=9, total=9, state="done")),
            (0.0, Transfer(key="c", action="pull", state="failed")),
        ),
        0.0,
    )
    assert [(" ".join(row.text.split()), row.right) for row in rows] == [
        ("sha256:0123456789ab pull", "7B"),
        ("a push mounted", ""),
        ("b pull done", "9B"),
        ("c pull failed", ""),
    ]


def test_events_of_unknown_steps_are_ignored() -> None:
    events = (StepOutput(step=9, data=b"x"), StepErred(step=9, message="x"))
    assert rows_of(progress_state(*((0.0, event) for event in events)), 0.0) == []


def drawn(*events: Event, **flags: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=60, height=20, color_system=None)
    with Tty(stream, console=console, clock=lambda: 0.0, **flags) as sink:
        for event in events:
            sink.emit(event)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "")


def test_rows_fit_the_width() -> None:
    text = drawn(
        StepStarted(step=1, name="RUN " + "日本" * 60),
        StepOutput(step=1, data=b"x" * 500 + b"\n"),
        StepErred(step=1, message="no"),
    )
    final = text[text.index("[+] Building 0.0s FAILED") :].splitlines()
    assert final[1].startswith(" => ERROR RUN 日本")
    assert final[1].endswith("0.0s")
    assert len(final[2]) == 59


def test_warnings_come_below_the_last_rows() -> None:
    events = (Notice(text="[bold]odd", level="warning"), StepStarted(step=1, name="A"))
    text = drawn(*events, Notice(text="hello"), StepFinished(step=1, seconds=0), build=True)
    last, warning = text.splitlines()[-2:]
    assert last.split() == ["=>", "A", "0.0s"]
    assert warning == "warning: [bold]odd"
    assert "hello\n" in text


def test_checks_come_below_the_last_rows() -> None:
    check = CheckWarning(
        rule="MaintainerDeprecated",
        url="",
        detail="Maintainer instruction is deprecated",
        file="Dockerfile",
        line=2,
        excerpt=("MAINTAINER x",),
    )
    text = drawn(StepStarted(step=1, name="a"), check, StepFinished(step=1, seconds=0.1))
    lines = text.splitlines()
    assert lines[-3:] == [
        "",
        " 1 warning found (use --debug to expand):",
        " - MaintainerDeprecated: Maintainer instruction is deprecated (Dockerfile:2)",
    ]


def test_nothing_is_drawn_when_nothing_happens() -> None:
    assert drawn() == ""
    assert drawn(Notice(text="x")) == "x\n"


def test_a_burst_of_output_costs_little() -> None:
    chunk = b"".join(b"%08d some output of a build\n" % number for number in range(1000))
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=20)
    with Tty(stream, console=console) as sink:
        sink.emit(StepStarted(step=1, name="A"))
        start = time.process_time()
        for _ in range(60):  # 2 MB
            sink.emit(StepOutput(step=1, data=chunk))
        spent = time.process_time() - start
    assert spent < 1.0
    assert len(stream.getvalue()) < 100_000


@pytest.mark.slow
def test_threads_and_notices_do_not_lock_each_other_out() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=20)
    with Tty(stream, console=console) as sink:

        def work(step: int) -> None:
            sink.emit(StepStarted(step=step, name=f"step {step}"))
            for number in range(100):
                sink.emit(StepOutput(step=step, data=b"x\n"))
                sink.emit(Notice(text=f"notice {number}"))
            sink.emit(StepFinished(step=step, seconds=0))

        threads = [
            threading.Thread(target=work, args=(number,), daemon=True) for number in range(1, 5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
    assert "step 4" in stream.getvalue()


SCRIPT = """
import time
from ocitool.cli.progress import choose
from ocitool.progress import StepErred, StepFinished, StepOutput, StepStarted
with choose("auto", build=True) as sink:
    sink.emit(StepStarted(step=1, name="RUN \\u00e9cho"))
    sink.emit(StepOutput(step=1, data=b"working\\n"))
    time.sleep(0.5)
    sink.emit(StepErred(step=1, message="exit code: 1"))
"""


def resize(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 20, columns, 0, 0))


def on_a_terminal(*, then: int = 50, **environment: str) -> str:
    """Run the script with a pseudo terminal of 50 columns; return all it wrote.

    At the first sign of life the terminal becomes *then* columns wide.
    """
    ours, theirs = pty.openpty()
    resize(theirs, 50)
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**keep, "LC_ALL": "C.UTF-8", "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    os.close(theirs)
    pieces = []
    try:
        while piece := os.read(ours, 65536):
            pieces.append(piece)
            resize(ours, then)
    except OSError:  # how a pseudo terminal says that its other end is closed
        pass
    os.close(ours)
    assert child.wait() == 0
    return b"".join(pieces).decode()


@pytest.mark.slow
def test_a_terminal_is_drawn_on() -> None:
    text = on_a_terminal(TERM="xterm-256color")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor comes back
    assert "\x1b[31m => ERROR RUN écho" in text
    assert text.rindex("working") > text.index("FAILED")
    assert all(
        len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)) < 50 for line in re.split("[\r\n]", text)
    )


@pytest.mark.slow
def test_a_terminal_may_change_its_size() -> None:
    text = on_a_terminal(TERM="xterm-256color", NO_COLOR="1", then=40)
    final = text[text.index("FAILED") :]
    assert max(len(line) for line in re.sub(r"\x1b\[[0-9;?]*m", "", final).splitlines()) == 39


@pytest.mark.slow
def test_no_color_is_respected() -> None:
    assert "\x1b[31m" not in on_a_terminal(TERM="xterm-256color", NO_COLOR="1")


@pytest.mark.slow
@pytest.mark.parametrize("term", ["dumb"])
def test_a_dumb_terminal_gets_plain_lines(term: str) -> None:
    text = on_a_terminal(TERM=term)
    assert "\x1b" not in text
    assert text.replace("\r\n", "\n").startswith("#1 RUN écho\n#1 0.0")
