"""Ctrl-C while the program starts and while it ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.fixtures.programs import python_environment

#: Runs ``ocitool --version`` and is interrupted when it does something for the first time.
PROGRAM = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
class Finder:
    def find_spec(self, name, *_):
        if name == sys.argv[0]:
            interrupt()
sys.meta_path.insert(0, Finder())
if sys.argv[0] == "exit":
    atexit.register(interrupt)
from ocitool.__main__ import main
main()
"""


@pytest.mark.parametrize("when", ["click", "ocitool.cli.main", "exit"])
def test_an_interrupt_ends_it_without_a_traceback(when):
    code = f"import sys; sys.argv = [{when!r}, '--version']\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=python_environment(), capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr == b""
