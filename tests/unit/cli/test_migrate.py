"""Every option of docs/migrate.md is what the page says: it parses, or is refused by name.

The options of docker, buildah and podman that are here are all on the page.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from ocitool.cli.app import App
from ocitool.cli.main import cli
from ocitool.cli.unsupported import OPTIONS

CHECKOUT = Path(__file__).parents[3]
PAGE = runpy.run_path(str(CHECKOUT / "docs/migrate.py"))
ROWS = [
    pytest.param(builder, row, id=f"{builder.replace(' ', '-')}:{row.names[-1]}")
    for builder in PAGE["builders"]()
    for row in PAGE["rows"](builder)
]


def call(builder: str, row) -> list[str]:
    return [PAGE["COMMANDS"].get(builder, "build"), *row.words]


@pytest.mark.parametrize(("builder", "row"), ROWS)
def test_a_row_is_tried_with_its_option(builder, row):
    """Names of one option parse alike, so that one of them is enough."""
    assert any(word.partition("=")[0] in row.names for word in row.words)


@pytest.mark.parametrize(("builder", "row"), [each for each in ROWS if not each.values[1].refusal])
def test_a_supported_option_parses(builder, row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("arguments", "file", "auth.json", "socket"):
        (tmp_path / name).touch()
    for name in row.names:
        words = [re.sub(r"^--?[\w-]+", name, word) if word.partition("=")[0] in row.names else word
                 for word in row.words]  # fmt: skip
        parent = click.Context(cli, obj=App(root=None, driver=None, debug=False))
        command_name, command, rest = cli.resolve_command(parent, [call(builder, row)[0], *words])
        assert command is not None
        context = command.make_context(command_name, rest, parent=parent)
        assert not [each for each in context.args if each.startswith("-")]


@pytest.mark.parametrize(("builder", "row"), [each for each in ROWS if each.values[1].refusal])
def test_a_refused_option_is_refused_by_name(builder, row):
    with pytest.raises(click.UsageError) as caught:
        cli.main(call(builder, row), standalone_mode=False)
    assert caught.value.message in {f"{name} is not supported: {row.refusal}" for name in row.names}


def test_a_reason_is_given_only_for_options_that_there_are_not():
    for name, reasons in OPTIONS.items():
        command = cli.get_command(click.Context(cli), name)
        if command is not None:
            known = {option for each in command.params for option in each.opts}
            assert known.isdisjoint(reasons), name


def test_each_option_of_build_is_of_another_builder_or_explained_elsewhere():
    command = cli.get_command(click.Context(cli), "build")
    assert command is not None
    listed = {name for builder in ("docker build", "docker buildx build", "buildah build")
              for row in PAGE["rows"](builder) for name in row.names}  # fmt: skip
    pages = "".join(
        (CHECKOUT / "docs" / name).read_text(encoding="utf-8")
        for name in ("dockerfile.md", "cli.md", "progress.md")
    )
    for each in command.params:
        if each.name in ("insecure_pull", "ignored_paths"):
            continue  # kaniko's alone
        names = [name for name in each.opts if name.startswith("--")]
        assert all(name in listed or f"{name}" in pages for name in names), names


# -- the peers' own lists --------------------------------------------------------------------

#: What a peer's help has and no page of it: its own help, and docker's global options.
OWN = {"--help"}
PEERS = {
    "docker build": ("docker", "build", "--help"),
    "buildah build": ("buildah", "build", "--help"),
    "podman build": ("podman", "build", "--help"),
}


@pytest.mark.parametrize("peer", PEERS)
def test_no_option_of_a_peer_is_missing(peer):
    program, *words = PEERS[peer]
    path = os.environ.get("OCITOOL_DOCKER") if program == "docker" else None
    path = path or shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program}: tests/interop/up installs it")
    environ = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run([path, *words], capture_output=True, text=True, env=environ)
    theirs = set(re.findall(r"^ +(?:-\w, )?(--[a-z][\w-]+)", done.stdout, re.MULTILINE)) - OWN
    if len(theirs) < 10:
        pytest.skip(f"{peer} has no help here: {done.stderr[:200]}")
    builder = "docker build" if peer == "docker build" else "buildah build"
    ours = {name for row in PAGE["rows"](builder) for name in row.names}
    assert theirs - ours == set()
