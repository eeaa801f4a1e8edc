"""The help of every command, word for word: a change of it is seen before it is shipped.

``OCITOOL_REWRITE=1`` writes ``tests/house/help/*.txt`` anew.
"""

from __future__ import annotations

import importlib.util
import runpy

import pytest


@pytest.fixture(scope="module")
def generator(checkout):
    if importlib.util.find_spec("ocitool.cli.main") is None:
        pytest.skip("there is no command line yet")
    return runpy.run_path(str(checkout / "docs" / "generate.py"))


def test_help_is_the_golden_help(generator, checkout, rewrite):
    folder = checkout / "tests" / "house" / "help"
    helps = {f"{path.replace(' ', '-')}.txt": text for path, text in generator["helps"]().items()}
    if rewrite:
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.txt"):
            old.unlink()
        for name, text in helps.items():
            (folder / name).write_text(text, encoding="utf-8")
    golden = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.txt")}
    assert helps == golden, "if it is meant: OCITOOL_REWRITE=1 make test ARGS=tests/house"


def test_every_command_and_option_is_explained(generator):
    mute = []
    for path, text in generator["helps"]().items():
        lines = text.splitlines()
        if len(lines) < 3 or not lines[2].strip():
            mute.append(path)
    assert mute == []


@pytest.mark.parametrize("script", ["generate", "migrate"])
def test_the_pages_made_of_the_commands_are_up_to_date(checkout, rewrite, script):
    made = runpy.run_path(str(checkout / "docs" / f"{script}.py"))
    text = made["page"]()
    if rewrite:
        made["PAGE"].write_text(text, encoding="utf-8")
    assert made["PAGE"].read_text(encoding="utf-8") == text, "if it is meant: make docs"
