"""Calls of CI files in testdata/ci-calls.yaml: each is understood, or refused with a way out."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from ocitool.cli.app import App
from ocitool.cli.kaniko.words import build_words
from ocitool.cli.main import cli
from tests.fixtures.tables import read_table

TABLE = Path(__file__).parents[3] / "testdata/ci-calls.yaml"
CALLS = [
    (call, "") if isinstance(call, str) else tuple(call)
    for calls in read_table(TABLE).values()
    for call in calls
]


def parse(words: list[str]) -> click.Context:
    """Parse a call of ocitool as far as the command that it names."""
    context = cli.make_context("ocitool", words, obj=App(root=None, driver=None, debug=False))
    while isinstance(group := context.command, click.Group):
        words = [*context._protected_args, *context.args]
        name, command, rest = group.resolve_command(context, words)
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    assert not context.args
    return context


def understand(words: list[str], environ: dict[str, str]) -> None:
    """Parse a call of ocitool, and what it comes to."""
    given = parse(words).params
    if words[0] == "kaniko-executor":
        parse(["build", *build_words(given, environ)])


@pytest.mark.parametrize(("call", "refusal"), CALLS)
def test_a_call_of_a_ci_file(call, refusal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "auth.json").write_text("{}")
    words = shlex.split(call)
    environ = {}
    while (pair := re.fullmatch(r"([A-Z_]+)=(.*)", words[0])) is not None:
        environ[pair[1]] = pair[2]
        monkeypatch.setenv(*pair.groups())
        del words[0]
    words[:1] = ["kaniko-executor"] if words[0] == "executor" else []
    if not refusal:
        understand(words, environ)
        return
    monkeypatch.setenv("OCITOOL_ROOT", str(tmp_path / "store"))
    with pytest.raises(click.UsageError) as caught:
        cli.main(words, standalone_mode=False)
    assert re.search(refusal, caught.value.format_message())
