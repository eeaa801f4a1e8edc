"""Text from outside is safe to show, wherever it is shown."""

from __future__ import annotations

import io
import json
import sys
from unicodedata import category

import pytest

from ocitool.cli.errors import describe
from ocitool.cli.output.output import emit_documents, write, write_line
from ocitool.cli.output.text import escaped, one_line, shortened
from ocitool.cli.progress import choose
from ocitool.cli.progress.rows import rows_of
from ocitool.cli.progress.state import ProgressState
from ocitool.cli.progress.tty import Tty
from ocitool.errors import DockerfileError, OcitoolError, StepFailed
from ocitool.progress import Notice, StepErred, StepOutput, StepStarted, Transfer
from tests.fixtures.hostile import HOSTILE, hostile_in


@pytest.mark.slow
def test_every_control_and_format_character_is_escaped() -> None:
    unsafe = [
        chr(point)
        for point in range(sys.maxunicode + 1)
        if category(chr(point)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and chr(point) not in "\t\n"
    ]
    assert len(unsafe) > 2000
    assert [char for char in unsafe if escaped(char).isascii() is False] == []
    assert set(unsafe) <= set(HOSTILE)


def test_what_is_only_text_stays() -> None:
    text = "é 日本語 שלום مرحبا ½ …\t\U0001f600\n"
    assert escaped(text) == text


def test_an_escape_is_one_of_json() -> None:
    assert json.loads(f'"{escaped(HOSTILE)}"').encode("utf-16", "surrogatepass") == HOSTILE.encode(
        "utf-16", "surrogatepass"
    )


def test_one_line_is_one() -> None:
    assert one_line("a\nhint: b\u2028c\x85d\te") == "a\\nhint: b\\u2028c\\u0085d\te"


def test_a_long_line_shows_its_ends_and_its_length() -> None:
    assert shortened("x" * 600) == "x" * 600
    text = shortened("a" * 1_000_000 + "z")
    assert text == "a" * 400 + "… (1000001 characters) …" + "a" * 99 + "z"


def written() -> str:
    out = io.StringIO()
    write(HOSTILE, out)
    write_line(HOSTILE, out)
    for format in (None, "{{.Label}}", "json"):
        emit_documents([{"Label": HOSTILE, HOSTILE: 1}], format=format, out=out)
    return out.getvalue()


def test_what_commands_print_is_escaped() -> None:
    assert hostile_in(written()) == set()


@pytest.mark.parametrize("mode", ["plain", "json", "quiet"])
def test_progress_is_escaped(mode: str) -> None:
    out = io.StringIO()
    with choose(mode, out, debug=True) as sink:
        for level in ("info", "debug", "warning"):
            sink.emit(Notice(text=f"{HOSTILE}{level}", level=level))
        sink.emit(StepStarted(step=1, name=HOSTILE))
        sink.emit(StepOutput(step=1, data=HOSTILE.encode("utf-8", "surrogatepass")))
        sink.emit(StepErred(step=1, message=HOSTILE))
        sink.emit(Transfer(key=HOSTILE, action="pull", state="failed"))
    assert hostile_in(out.getvalue()) == set()
    assert "\nhint" not in out.getvalue()


def test_the_rows_on_a_terminal_is_escaped() -> None:
    out = io.StringIO()
    with Tty(out) as sink:
        sink.emit(StepStarted(step=1, name=HOSTILE))
        sink.emit(StepOutput(step=1, data=b"\xe2\x80\xae\xc2\x9b31mfile\n"))
        sink.emit(StepErred(step=1, message=HOSTILE))
        sink.emit(Transfer(key=HOSTILE, action="pull", state="failed"))
        sink.emit(Notice(text=HOSTILE))
    assert hostile_in(out.getvalue()) <= {"\x1b", "\r"}  # by which rich moves the cursor
    assert "\\u202e" in out.getvalue()


@pytest.mark.parametrize(
    "error",
    [
        OcitoolError(HOSTILE, where=HOSTILE, hint=HOSTILE),
        DockerfileError(HOSTILE, name=HOSTILE, line=3, excerpt=(HOSTILE,)),
        StepFailed(HOSTILE, status=1, log=(HOSTILE,), excerpt=(HOSTILE,)),
        FileNotFoundError(2, "No such file", HOSTILE),
        ValueError(HOSTILE),
        SystemExit(HOSTILE),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("debug", [False, True])
def test_errors_are_escaped(error: BaseException, debug: bool) -> None:
    assert hostile_in(describe(error, debug=debug)) == set()


def test_nothing_from_outside_makes_a_line_of_its_own() -> None:
    text = describe(OcitoolError("no\nhint: run this", where="a\nb", hint="x\ny"))
    assert text == "Error: a\\nb: no\\nhint: run this\nhint: x\\ny\n"


LONG = "x" * (1 << 20)


@pytest.mark.parametrize(
    "error",
    [
        OcitoolError(LONG, where=LONG, hint=LONG),
        DockerfileError("unknown", line=3, excerpt=(LONG, LONG)),
        StepFailed(LONG, status=1, log=(LONG, LONG), excerpt=(LONG,)),
        FileNotFoundError(2, "No such file", LONG),
        ValueError(LONG),
        DockerfileError("unknown", line=3, excerpt=("RUN a \\",) * 100_000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_fits_on_a_screen(error: BaseException) -> None:
    lines = describe(error).splitlines()
    assert max(map(len, lines)) < 700
    assert len(lines) < 30
    assert "characters)" in "".join(lines) or "more lines)" in "".join(lines)


def test_the_reason_at_the_end_of_a_long_line_is_kept() -> None:
    assert describe(OcitoolError("is not there", where=LONG)).endswith("xx: is not there\n")


def test_a_long_name_takes_little_room_in_a_row() -> None:
    state = ProgressState(0)
    state.take(StepStarted(step=1, name=LONG), 0)
    assert len(rows_of(state, 1)[1].text) < 700
