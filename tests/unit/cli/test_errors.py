"""What an error looks like, and which exit code it is."""

from __future__ import annotations

import errno
import io
import subprocess
import sys

import click
import pytest

from ocitool.cli.errors import describe, exit_code, run_guarded
from ocitool.errors import (
    ContainerError,
    DockerfileError,
    FormatError,
    ImageNotFound,
    OcitoolError,
    SetupFailed,
    StepFailed,
    StoreError,
)

STEP = StepFailed(
    "RUN make: exit code: 2",
    status=2,
    where="Dockerfile:3",
    log=("cc -c main.c", "make: *** [all] Error 1\n"),
    line=3,
    excerpt=("RUN make \\", "    all"),
    hint="run it by hand",
)


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ImageNotFound("no such image: web"), 1, "Error: no such image: web\n"),
        (
            FormatError("size must not be negative", where="layers[2].size", hint="rebuild it"),
            1,
            "Error: layers[2].size: size must not be negative\nhint: rebuild it\n",
        ),
        (
            DockerfileError("unknown instruction", line=3, excerpt=("RUM foo",)),
            1,
            "Error: Dockerfile:3: unknown instruction\n   3 | >>> RUM foo\n",
        ),
        (
            DockerfileError("is empty", excerpt=("",)),
            1,
            "Error: Dockerfile: is empty\n     | >>> \n",
        ),
        (
            DockerfileError("odd", line=2, excerpt=("   1 |     FROM x", "   2 | >>> RUM")),
            1,
            "Error: Dockerfile:2: odd\n   1 |     FROM x\n   2 | >>> RUM\n",
        ),
        (
            STEP,
            2,
            "Error: Dockerfile:3: RUN make: exit code: 2\n"
            "   3 | >>> RUN make \\\n"
            "   4 | >>>     all\n"
            "------\ncc -c main.c\nmake: *** [all] Error 1\n------\n"
            "hint: run it by hand\n",
        ),
        (StepFailed("died", status=-9), 1, "Error: died\n"),
        (SetupFailed("mount: denied"), 125, "Error: mount: denied\n"),
        (ContainerError("container is running"), 125, "Error: container is running\n"),
        (OcitoolError("evil \x1b[2J\nhint: text"), 1, "Error: evil \\u001b[2J\\nhint: text\n"),
        (click.BadParameter("bad"), 2, "Error: invalid value: bad\n"),
        (
            click.BadOptionUsage("--format", "Option '--format' requires an argument."),
            2,
            "Error: flag needs an argument: --format\n",
        ),
        (click.ClickException("plain"), 1, "Error: plain\n"),
        (KeyboardInterrupt(), 130, "Error: interrupted\n"),
        (click.Abort(), 130, "Error: interrupted\n"),
        (BrokenPipeError(), 141, ""),
        (MemoryError(), 1, "Error: out of memory\n"),
        (SystemExit(), 0, ""),
        (SystemExit(7), 7, ""),
        (SystemExit("said"), 1, "said\n"),
        (click.exceptions.Exit(3), 3, ""),
        (
            OSError(errno.ENOSPC, "No space left on device", "/var/x"),
            1,
            "Error: no space left on device: /var/x\n"
            "hint: free some space, or move the store to a larger disk\n",
        ),
        (
            caused(StoreError("cannot write blob"), OSError(errno.ENOSPC, "No space")),
            1,
            "Error: cannot write blob: no space left on device\n"
            "hint: free some space, or move the store to a larger disk\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x"),
            1,
            "Error: Permission denied: /x\n",
        ),
        (
            TypeError("oops"),
            1,
            "Error: internal error: TypeError: oops\n"
            "hint: this is a bug in ocitool; please report it with the output of --debug\n",
        ),
        (
            ExceptionGroup("two", [STEP, ExceptionGroup("in", [OcitoolError("other")])]),
            2,
            None,
        ),
        (BaseExceptionGroup("b", [KeyboardInterrupt(), STEP]), 2, None),
        (ExceptionGroup("same", [OcitoolError("x"), OcitoolError("x")]), 1, "Error: x\n"),
    ],
)
def test_text_and_code(error: BaseException, code: int, text: str | None) -> None:
    assert exit_code(error) == code
    if text is not None:
        assert describe(error) == text


def test_a_group_tells_each_error() -> None:
    text = describe(ExceptionGroup("two", [OcitoolError("a"), ExceptionGroup("", [STEP])]))
    assert text.startswith("Error: a\nError: Dockerfile:3: RUN make")


def test_usage_errors_show_the_usage() -> None:
    context = click.Context(click.Command("pull"), info_name="ocitool pull")
    text = describe(click.UsageError("no such option: --x", context))
    assert text == (
        "Error: no such option: --x\n"
        "Usage: ocitool pull [OPTIONS]\n"
        "hint: try 'ocitool pull --help'\n"
    )


def fail_with(error: BaseException) -> None:
    raise error


def test_run_guarded() -> None:
    stream = io.StringIO()
    assert run_guarded(lambda: None, stream=stream) == 0
    assert run_guarded(lambda: 4, stream=stream) == 4
    assert stream.getvalue() == ""
    assert run_guarded(lambda: fail_with(STEP), stream=stream) == 2
    assert stream.getvalue() == describe(STEP)


def test_debug_adds_the_traceback() -> None:
    stream = io.StringIO()
    run_guarded(lambda: fail_with(OcitoolError("x")), debug=True, stream=stream)
    assert stream.getvalue().startswith("Traceback (most recent call last)")
    assert stream.getvalue().endswith("\nError: x\n")


def test_a_closed_stderr_changes_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    assert run_guarded(lambda: fail_with(STEP), stream=stream) == 2


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error() -> None:
    script = (
        "import sys; from ocitool.cli.errors import run_guarded\n"
        "from ocitool.cli.output.output import write\n"
        "def go():\n    while True: write('x' * 1000 + '\\n')\n"
        "sys.exit(run_guarded(go))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 141
