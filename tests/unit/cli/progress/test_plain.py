"""The renderers that write lines: plain, json and quiet."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ocitool.cli.errors import documents
from ocitool.cli.progress import choose, jsonlines
from ocitool.cli.progress.jsonlines import JsonLines
from ocitool.cli.progress.plain import Plain
from ocitool.cli.progress.renderer import Quiet
from ocitool.errors import FormatError, OcitoolError, StepFailed
from ocitool.progress import (
    SILENT,
    CheckWarning,
    Event,
    Notice,
    StepErred,
    StepFinished,
    StepOutput,
    StepStarted,
    Transfer,
    wants_streams,
)

CHECKOUT = Path(__file__).resolve().parents[4]
BLOB = "sha256:" + "0123456789ab" * 5 + "cdef"


def ticking() -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += 0.25


def plain(*events: Event, debug: bool = False, build: bool = False) -> str:
    stream, ticks = io.StringIO(), ticking()
    with Plain(stream, debug=debug, build=build, clock=lambda: next(ticks)) as sink:
        for event in events:
            sink.emit(event)
    return stream.getvalue()


def test_a_step() -> None:
    assert plain(
        StepStarted(step=3, name="[build 2/5] RUN make"),
        StepOutput(step=3, data=b"one\ntw"),
        StepOutput(step=3, data=b"o\n"),
        StepFinished(step=3, seconds=1.23),
    ) == ("#3 [build 2/5] RUN make\n#3 0.250 one\n#3 0.500 two\n#3 DONE 1.2s\n\n")


def test_a_cached_and_a_failed_step() -> None:
    assert plain(
        StepStarted(step=1, name="FROM x"),
        StepFinished(step=1, seconds=0, cached=True),
        StepStarted(step=2, name="RUN false"),
        StepOutput(step=2, data=b"partial"),
        StepErred(step=2, message="exit code:\n1"),
    ) == ("#1 FROM x\n#1 CACHED\n\n#2 RUN false\n#2 0.250 partial\n#2 ERROR: exit code: 1\n\n")


def test_a_transfer_belongs_to_the_step_that_runs() -> None:
    fetched = Transfer(key=BLOB, action="pull", done=5, state="done")
    assert plain(
        fetched,
        StepStarted(step=1, name="FROM x"),
        fetched,
        StepFinished(step=1, seconds=0),
        fetched,
    ) == (
        "sha256:0123456789ab: done 5B\n"
        "#1 FROM x\n#1 sha256:0123456789ab: done 5B\n#1 DONE 0.0s\n\n"
        "sha256:0123456789ab: done 5B\n"
    )


def test_a_canceled_step() -> None:
    assert plain(
        StepStarted(step=1, name="RUN sleep"), StepErred(step=1, message="canceled", canceled=True)
    ) == ("#1 RUN sleep\n#1 CANCELED\n\n")


def test_parallel_steps_are_distinguished() -> None:
    assert plain(
        StepStarted(step=1, name="A"),
        StepStarted(step=2, name="B"),
        StepOutput(step=1, data=b"a\n"),
        StepOutput(step=2, data=b"b\n"),
        StepFinished(step=2, seconds=1),
        StepFinished(step=1, seconds=1),
    ) == (
        "#1 A\n#1 ...\n\n#2 B\n#2 ...\n\n#1 A\n#1 0.500 a\n#1 ...\n\n#2 B\n#2 0.500 b\n"
        "#2 DONE 1.0s\n\n#1 A\n#1 DONE 1.0s\n\n"
    )


def test_the_two_streams_of_a_step_do_not_mix_within_a_line() -> None:
    text = plain(
        StepStarted(step=1, name="A"),
        StepOutput(step=1, data=b"out"),
        StepOutput(step=1, data=b"err\n", stream="stderr"),
        StepOutput(step=1, data=b"put\n"),
    )
    assert [line.split()[-1] for line in text.splitlines()] == ["A", "err", "output"]


def test_what_an_interrupted_step_printed_is_shown() -> None:
    assert "last words" in plain(
        StepStarted(step=1, name="A"), StepOutput(step=1, data=b"last words")
    )


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Transfer(key=BLOB, action="pull", done=5, total=9), ""),
        (
            Transfer(key=BLOB, action="pull", done=12_300_000, total=12_300_000, state="done"),
            "sha256:0123456789ab: done 12.3MB\n",
        ),
        (
            Transfer(key=BLOB, action="unpack", done=5, state="done"),
            "sha256:0123456789ab: unpacked 5B\n",
        ),
        (
            Transfer(key="https://example.com/a/context.tar", action="fetch", done=5, state="done"),
            "https://example.com/a/context.tar: fetched 5B\n",
        ),
        (Transfer(key=BLOB, action="pull", state="exists"), "sha256:0123456789ab: exists\n"),
        (Transfer(key=BLOB, action="push", state="mounted"), "sha256:0123456789ab: mounted\n"),
        (Transfer(key="config", action="pull", state="failed"), "config: failed\n"),
    ],
)
def test_transfers(event: Transfer, line: str) -> None:
    assert plain(event) == line


WARNING = Notice(text="old \x1b[31msyntax", level="warning")
WARNED = "warning: old \\u001b[31msyntax\n"


def test_warnings_of_a_build_come_once_at_the_end() -> None:
    step = (StepStarted(step=1, name="A"), StepFinished(step=1, seconds=0))
    assert plain(WARNING, *step, WARNING, build=True).endswith(f"0.0s\n\n{WARNED}")
    assert plain(*step, WARNING, Notice(text="x")).endswith(f"x\n{WARNED}")


def test_other_warnings_come_at_once() -> None:
    assert plain(WARNING, Notice(text="later"), WARNING) == f"{WARNED}later\n"


CHECKS = (
    CheckWarning(
        rule="UndefinedVar",
        url="https://docs.docker.com/go/dockerfile/rule/undefined-var/",
        detail="Usage of undefined variable '$A\x1b[2J'",
        file="Dockerfile",
        line=9,
        excerpt=("RUN x \\", "  $A"),
    ),
    CheckWarning(
        rule="InvalidBaseImagePlatform",
        url="",
        detail="Base image x was pulled",
        file="Dockerfile",
        line=1,
        excerpt=("FROM x",),
    ),
)


def test_checks_come_at_the_end_in_the_order_of_their_lines() -> None:
    assert plain(*CHECKS, Notice(text="careful", level="warning"), build=True) == (
        "warning: careful\n"
        "\n"
        " 2 warnings found (use --debug to expand):\n"
        " - InvalidBaseImagePlatform: Base image x was pulled (Dockerfile:1)\n"
        " - UndefinedVar: Usage of undefined variable '$A\\u001b[2J' (Dockerfile:9)\n"
    )


def test_debug_shows_the_lines_of_a_check() -> None:
    assert plain(*CHECKS[:1], debug=True, build=True) == (
        "\n"
        " 1 warning found:\n"
        " - UndefinedVar: Usage of undefined variable '$A\\u001b[2J' (Dockerfile:9)\n"
        "Variables should be defined before their use\n"
        "More info: https://docs.docker.com/go/dockerfile/rule/undefined-var/\n"
        "   9 | >>> RUN x \\\n"
        "  10 | >>>   $A\n"
        "\n"
    )


def test_quiet_shows_no_checks() -> None:
    stream = io.StringIO()
    with Quiet(stream, build=True) as sink:
        sink.emit(CHECKS[0])
    assert stream.getvalue() == ""


def test_debug_notices_only_when_asked_for() -> None:
    event = Notice(text="cache key", level="debug")
    assert plain(event) == ""
    assert plain(event, debug=True) == "debug: cache key\n"


def test_json_is_an_object_an_event() -> None:
    stream = io.StringIO()
    with JsonLines(stream) as sink:
        sink.emit(Transfer(key=BLOB, action="pull", done=1, total=2))
        sink.emit(StepStarted(step=1, name="A"))
        sink.emit(StepOutput(step=1, data=b"caf\xc3"))
        sink.emit(StepOutput(step=1, data=b"\xa9 \xc3"))
        sink.emit(StepFinished(step=1, seconds=0.5))
        sink.emit(StepOutput(step=2, data=b"\xff", stream="stderr"))
        sink.emit(StepErred(step=2, message="no"))
        sink.emit(WARNING)
        sink.emit(WARNING)
        sink.emit(Notice(text="hidden", level="debug"))
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert all(item.pop("time").endswith("Z") for item in objects)
    assert objects == [
        {"type": "transfer", "key": BLOB, "action": "pull", "done": 1, "total": 2}
        | {"state": "running"},
        {"type": "step_started", "step": 1, "name": "A"},
        {"type": "step_output", "step": 1, "stream": "stdout", "data": "caf"},
        {"type": "step_output", "step": 1, "stream": "stdout", "data": "é "},
        {"type": "step_output", "step": 1, "stream": "stdout", "data": "\ufffd"},
        {"type": "step_finished", "step": 1, "seconds": 0.5, "cached": False},
        {"type": "step_output", "step": 2, "stream": "stderr", "data": "\ufffd"},
        {"type": "step_erred", "step": 2, "message": "no", "canceled": False},
        {"type": "notice", "text": WARNING.text, "level": "warning"},
    ]


def json_events(error: BaseException, *, debug: bool = False) -> tuple[int, list[dict[str, str]]]:
    """Return the exit code and the events of a command that *error* ends."""
    stream = io.StringIO()
    with pytest.raises(click.exceptions.Exit) as caught, JsonLines(stream, debug=debug):
        raise error
    return caught.value.exit_code, [json.loads(line) for line in stream.getvalue().splitlines()]


def test_the_page_has_every_event_and_field() -> None:
    page = (CHECKOUT / "docs" / "progress.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    for event, name in jsonlines.EVENTS.items():
        fields = {field.name for field in dataclasses.fields(event)}
        assert fields <= set(re.findall(r"`(\w+)`", rows[name])), name
    (error,) = documents(OcitoolError("x"))
    assert {*error, "exit_code"} <= set(re.findall(r"`(\w+)`", rows["error"]))


def test_json_has_errors_as_events() -> None:
    failure = StepFailed("exit code: 2", status=2, where="Dockerfile:3", hint="do", log=("a", "b"))
    failure.excerpt, failure.line = ("RUN make",), 3
    code, (event,) = json_events(failure)
    assert (code, event["exit_code"]) == (2, 2)
    assert event["type"] == "error"
    assert event["message"] == "Dockerfile:3: exit code: 2"
    assert event["detail"] == "   3 | >>> RUN make\n------\na\nb\n------"
    assert event["hint"] == "do"
    assert "traceback" not in event


def test_json_has_every_error_of_a_group_and_interrupts() -> None:
    code, events = json_events(ExceptionGroup("x", [OcitoolError("a"), OcitoolError("b")]))
    assert (code, [event["message"] for event in events]) == (1, ["a", "b"])
    code, (event,) = json_events(KeyboardInterrupt(), debug=True)
    assert (code, event["message"]) == (130, "interrupted")
    assert "KeyboardInterrupt" in event["traceback"]
    code, events = json_events(BrokenPipeError())
    assert (code, events) == (141, [])


def test_json_alone_wants_the_streams_of_steps() -> None:
    stream = io.StringIO()
    assert [wants_streams(sink(stream)) for sink in (JsonLines, Plain, Quiet)] == [
        True,
        False,
        False,
    ]
    assert not wants_streams(SILENT)


def test_quiet_shows_warnings_and_nothing_else() -> None:
    stream = io.StringIO()
    with Quiet(stream) as sink:
        sink.emit(Notice(text="info"))
        sink.emit(Transfer(key=BLOB, action="pull", state="done"))
        sink.emit(WARNING)
        sink.emit(StepStarted(step=1, name="A"))
    assert stream.getvalue() == WARNED


@pytest.mark.parametrize("kind", [Plain, JsonLines, Quiet])
def test_a_stream_that_is_gone_does_not_end_the_work(kind: type[Plain]) -> None:
    stream = io.StringIO()
    stream.close()
    with kind(stream) as sink:
        sink.emit(StepStarted(step=1, name="A"))
        sink.emit(WARNING)


def test_events_from_many_threads_keep_their_lines_whole() -> None:
    stream = io.StringIO()
    with Plain(stream) as sink:

        def work(step: int) -> None:
            sink.emit(StepStarted(step=step, name=f"step {step}"))
            for number in range(200):
                sink.emit(StepOutput(step=step, data=f"{step}:{number}\n".encode()))
            sink.emit(StepFinished(step=step, seconds=0))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = [line.split() for line in stream.getvalue().splitlines() if ":" in line]
    assert len(lines) == 1000
    assert all(line[0] == "#" + line[2].partition(":")[0] for line in lines)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("auto", Plain), ("tty", Plain), ("plain", Plain), ("json", JsonLines), ("quiet", Quiet)],
)
def test_choose_without_a_terminal(mode: str, kind: type) -> None:
    assert type(choose(mode, io.StringIO())) is kind


def test_choose_refuses_other_modes() -> None:
    with pytest.raises(FormatError, match="unknown mode 'fancy'") as caught:
        choose("fancy")
    assert "plain" in caught.value.hint


@pytest.mark.slow
def test_rich_is_loaded_for_a_terminal_only() -> None:
    script = (
        "import sys; import ocitool.cli.errors, ocitool.cli.output.output\n"
        "from ocitool.cli.progress import choose\n"
        "for mode in ('auto', 'plain', 'json', 'quiet'): choose(mode)\n"
        "sys.exit(any(name.partition('.')[0] == 'rich' for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
