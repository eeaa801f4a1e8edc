"""Progress of whole commands: an interrupt on a terminal, and nothing but JSON for programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.fixtures.programs import python_environment

#: The step's name does not have the word that it prints.
SLEEPING = "FROM tools:1\nRUN echo beg''un; sleep 600\n"


def on_a_terminal(screen, *words, cwd):
    """Begin a command whose terminal is *screen*."""
    return subprocess.Popen(
        # Where the tests run in the background, SIGINT is ignored, and commands inherit that.
        [
            "setsid",
            "--ctty",
            "env",
            "--default-signal=INT",
            sys.executable,
            "-m",
            "ocitool",
            *map(str, words),
        ],
        cwd=cwd,
        env=python_environment({"TERM": "xterm", "LC_ALL": "C.UTF-8"}),
        stdin=screen.inner,
        stdout=screen.inner,
        stderr=screen.inner,
    )


def test_an_interrupted_step_is_canceled(tools_store, containers, screen, tmp_path):
    (tmp_path / "Dockerfile").write_text(SLEEPING)
    for mode, shown in (("tty", "CANCELED [stage-0 2/2]"), ("plain", "#2 CANCELED")):
        words = ("--root", tools_store, "build", "--progress", mode, ".")
        building = on_a_terminal(screen, *words, cwd=tmp_path)
        screen.until("begun")
        screen.type("\x03")
        screen.until(shown)
        screen.until("interrupted")
        assert building.wait() == 130
    assert "ERROR" not in screen.text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("start", ["", "--ignore-signal=INT", "--block-signal=HUP,TERM"])
def test_a_signal_that_ends_a_build_leaves_nothing(
    tools_store, containers, tmp_path, number, code, start
):
    """Also where SIGINT is ignored, as in the background of a script, or others are blocked."""
    (tmp_path / "Dockerfile").write_text(SLEEPING)
    signals = ["--default-signal=INT,HUP,TERM", *filter(None, [start])]
    words = ("--root", tools_store, "build", "--progress", "plain", "-o", "out", ".")
    with subprocess.Popen(
        ["env", *signals, sys.executable, "-m", "ocitool", *map(str, words)],
        cwd=tmp_path,
        env=python_environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as building:
        assert building.stderr is not None
        for line in building.stderr:
            if "begun" in line:
                building.send_signal(number)
                break
        rest = building.stderr.read()
        assert building.wait() == code and rest.endswith("Error: interrupted\n")
    assert os.listdir(tools_store / "tmp") == os.listdir(tools_store / "containers") == []


def events(done):
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_json_is_all_that_a_failing_build_prints(run_cli, tools_store, containers, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM tools:1\nRUN echo out; echo err >&2; exit 3\n")
    words = ("build", "--progress=json", "--no-cache", ".")
    done = run_cli(*words, root=tools_store, cwd=tmp_path)
    assert (done.code, done.stdout) == (3, "")
    found = events(done)
    output = {(e["stream"], e["data"]) for e in found if e["type"] == "step_output"}
    assert output == {("stdout", "out\n"), ("stderr", "err\n")}
    assert [event["type"] for event in found[-2:]] == ["step_erred", "error"]
    assert found[-1]["message"].startswith("Dockerfile:2: process ")
    assert found[-1]["exit_code"] == 3


@pytest.mark.parametrize(
    "line", ["COPY none /", "ADD http://127.0.0.1:1/x /", "RUN --mount=source=none,target=/x true"]
)
def test_a_step_without_its_files_is_shown_as_the_one_that_failed(
    run_cli, store_root, tmp_path, line
):
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\n{line}\n")
    done = run_cli("build", "--progress=json", ".", root=store_root, cwd=tmp_path)
    started, erred, error = events(done)
    assert started["type"] == "step_started" and started["name"] == f"[stage-0 1/1] {line}"
    assert (erred["type"], erred["step"]) == ("step_erred", started["step"])
    assert error["message"] == f"Dockerfile:2: {erred['message']}"


def test_json_is_all_that_other_failures_print(run_cli, store_root, tmp_path):
    (tmp_path / "bad").write_text("FROM scratch\nCOPPY a b\n")
    for words, message in (
        (("build", "-f", "bad"), "bad:2: unknown instruction: COPPY"),
        (("build", "-f", "none"), "failed to read dockerfile: open none"),
        (("load", "-i", "none"), "none: cannot read the archive"),
        (("pull", "127.0.0.1:1/x"), "pulling 127.0.0.1:1/x: "),
        (("push", "none"), "pushing none: no such image: none"),
    ):
        done = run_cli(*words, "--progress", "json", root=store_root, cwd=tmp_path)
        (event,) = events(done)
        assert (done.code, done.stdout, event["type"]) == (1, "", "error")
        assert event["message"].startswith(message)
