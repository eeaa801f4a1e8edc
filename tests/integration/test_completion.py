"""Completion in the shells themselves: a key is pressed, and the line is read as it is then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.fixtures.programs import python_environment

#: Each shell's command line, and its set-up: complete, and on Ctrl-G write the line to a file.
SHELLS = {
    "bash": (
        ("bash", "--norc", "--noprofile", "-i"),
        """
        bind 'set bell-style none'; bind 'set completion-query-items 0'
        source {script}
        dump() {{ printf '%s' "$READLINE_LINE" > {line}.new; mv {line}.new {line}; }}
        bind -x '"\\C-g": dump'
        """,
    ),
    "zsh": (
        ("zsh", "-f", "-i"),
        """
        unsetopt zle_bracketed_paste beep; zstyle ':completion:*' menu no
        autoload -U compinit; compinit -u -D
        source {script}
        dump() {{ printf '%s' "$BUFFER" > {line}.new; mv {line}.new {line}; BUFFER= }}
        zle -N dump; bindkey '^G' dump
        """,
    ),
    "fish": (
        ("fish", "--no-config", "--interactive"),
        """
        source {script}
        function fish_greeting; end
        function fish_prompt; end
        function dump; commandline | string collect -N > {line}.new; mv {line}.new {line}; end
        bind \\cg dump
        """,
    ),
}


@pytest.fixture(
    params=["bash", *(pytest.param(name, marks=pytest.mark.campaign) for name in ("fish", "zsh"))]
)
def completed(request, run_cli, store_root, tmp_path, screen):
    """Return a function that types a beginning and Tab into a shell, and returns the line then.

    There are files and directories to complete, and the images of the store.
    """
    words, setup = SHELLS[request.param]
    if shutil.which(words[0]) is None:
        pytest.skip(f"needs {words[0]}")
    program = tmp_path / "bin" / "ocitool"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ocitool "$@"\n')
    program.chmod(0o755)
    here = tmp_path / "here"
    (here / "context dir").mkdir(parents=True)
    for name in ("Dockerfile.web", "plan.tar"):
        (here / name).touch()
    script, line = tmp_path / "script", tmp_path / "line"
    script.write_text(run_cli("completion", request.param).ok().stdout)
    environment = python_environment(
        {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "OCITOOL_ROOT": str(store_root),
            "HOME": str(tmp_path),
            "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
        }
    )
    shell = subprocess.Popen(
        ("setsid", "--ctty", *words),  # fish needs a terminal of its own
        cwd=here,
        env=environment,
        stdin=screen.inner,
        stdout=screen.inner,
        stderr=screen.inner,
    )
    (tmp_path / "setup").write_text(setup.format(script=script, line=line))

    def complete(begin: str) -> str:
        screen.type(f"{begin}\t\x07")
        while not line.exists():
            screen.read()
        text = line.read_text()
        line.unlink()
        screen.type("\x15")  # the line is removed
        return text

    try:
        screen.type(f"source {tmp_path}/setup; echo rea''dy\r")
        screen.until("ready")
        yield complete
    finally:
        shell.kill()
        shell.wait()


CASES = {
    "ocitool pus": "ocitool push ",
    "ocitool image inspe": "ocitool image inspect ",
    "ocitool help image inspe": "ocitool help image inspect ",
    "ocitool build --no-cache-f": "ocitool build --no-cache-filter ",
    "ocitool build -f Dockerf": "ocitool build -f Dockerfile.web ",
    "ocitool build --file=Dockerf": "ocitool build --file=Dockerfile.web ",
    "ocitool load -i pl": "ocitool load -i plan.tar ",
    "ocitool build --pull cont": "ocitool build --pull context\\ dir/",
    "ocitool build --call=out": "ocitool build --call=outline ",
    "ocitool build --pull=new": "ocitool build --pull=newer ",
    "ocitool run --pull=nev": "ocitool run --pull=never ",
    "ocitool build --progress js": "ocitool build --progress json ",
    "ocitool --driver fuse": "ocitool --driver fuse-overlayfs ",
    "ocitool run --rm --network no": "ocitool run --rm --network none ",
    "ocitool build --network pr": "ocitool build --network private ",
    "ocitool run --rm -it loc": "ocitool run --rm -it localhost:5000/app:1 ",
    "ocitool rmi localhost:50": "ocitool rmi localhost:5000/app:1 ",
    "ocitool image rm localhost:5000/a": "ocitool image rm localhost:5000/app:1 ",
    "ocitool run --rm localhost:5000/app:1 cat Dockerf":
        "ocitool run --rm localhost:5000/app:1 cat Dockerfile.web ",
    "ocitool rmi none": "ocitool rmi none",
}  # fmt: skip


def test_a_key_completes_the_line(completed, cli):
    cli("tag", "app:1", "localhost:5000/app:1").ok()
    found = {begin: completed(begin) for begin in CASES}
    assert {begin: line.rstrip() for begin, line in found.items()} == {
        begin: line.rstrip() for begin, line in CASES.items()
    }


def test_a_store_that_there_is_not_is_not_made(run_cli, tmp_path):
    words = {"_OCITOOL_COMPLETE": "bash_complete", "COMP_WORDS": "ocitool rmi "}
    done = run_cli(env={**words, "OCITOOL_ROOT": str(tmp_path / "none")}).ok()
    assert (done.stdout, done.stderr, (tmp_path / "none").exists()) == ("\n", "", False)
