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


def parsed(words: list[str]) -> click.Context:
    """The command's context, of a call with options before and behind the command."""
    app = App(root=None, driver=None, debug=False)
    context = cli.make_context("ocitool", list(words), obj=app)
    while isinstance(group := context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, rest = group.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


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
        if name in ("-v", "--version") and builder.endswith("[OPTIONS]"):
            with pytest.raises(click.exceptions.Exit):
                parsed(words)
            continue
        context = parsed(PAGE["call"](builder, words))
        assert not [each for each in context.args if each.startswith("-")]


@pytest.mark.parametrize(("builder", "row"), [each for each in ROWS if each.values[1].refusal])
def test_a_refused_option_is_refused_by_name(builder, row):
    with pytest.raises(click.UsageError) as caught:
        cli.main(PAGE["call"](builder, row.words), standalone_mode=False)
    assert caught.value.message in {f"{name} is not supported: {row.refusal}" for name in row.names}


def test_a_reason_is_given_only_for_options_that_there_are_not():
    for name, reasons in OPTIONS.items():
        command = cli if name == cli.name else cli.get_command(click.Context(cli), name)
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


def test_variables_of_the_environment_are_used_or_not_as_the_page_says():
    packages = ("ocitool", "registry", "runtime")
    source = "".join(
        path.read_text(encoding="utf-8")
        for top in packages
        for path in (CHECKOUT / top).rglob("*.py")
    )
    for name, text in PAGE["variables"]().items():
        assert (f'"{name}"' in source) != text.startswith("not used"), name


#: Of options that are accepted with some values: words that hold, and that are refused.
HELD = [
    ("--provenance=false", "--provenance=true"),
    ("--provenance false", "--provenance mode=max"),
    ("--provenance=0", "--provenance=min"),
    ("--provenance mode=max,disabled=true", "--provenance="),
    ("--sbom=false", "--sbom=true"),
    ("--sbom=F", "--sbom syft"),
    ("--attest type=sbom,disabled=true", "--attest type=sbom"),
    ("--attest type=provenance,disabled=1,mode=min", "--attest type=provenance,disabled=false"),
    ("--attest=type=sbom,disabled=t", "--attest false"),
    ("--builder default", "--builder mine"),
    ("--builder=", "--builder=cloud-org"),
    ("--cache-from=", "--cache-from example.com/app:latest"),
    ("--cache-to=", "--cache-to=type=gha,mode=max"),
    ("--cgroupns private", "--cgroupns host"),
    ("--ipc=private", "--ipc=host"),
    ("--pid container", "--pid /proc/1/ns/pid"),
    ("--uts private", "--uts host"),
    ("--userns host", "--userns auto"),
    ("--compat-volumes=false", "--compat-volumes"),
    ("--skip-unused-stages", "--skip-unused-stages=false"),
]


@pytest.mark.parametrize(("held", "refused"), HELD)
def test_a_value_that_holds_is_accepted_and_another_refused(held, refused):
    parsed(["build", *held.split()])
    name, _, value = refused.replace(" ", "=", 1).partition("=")
    with pytest.raises(click.UsageError, match=rf"{name}[ =]({value}|true) is not supported: ..."):
        parsed(["build", *held.split(), *refused.split()])


#: Options that a call may repeat; what buildah and podman also take with commas in one of them.
LISTS = {
    "--add-host": "a:192.0.2.1 b:192.0.2.2",
    "--allow": "network.host security.insecure",
    "--cap-add": "SYS_ADMIN NET_ADMIN",
    "--cap-drop": "CHOWN FOWNER",
    "--dns": "192.0.2.1 192.0.2.2",
    "--dns-option": "ndots:2 edns0",
    "--dns-search": "a.example b.example",
    "--no-cache-filter": "a b",
    "--ulimit": "nofile=1:1 nproc=2:2",
    "--unsetenv": "A B",
    "--unsetlabel": "a b",
}


@pytest.mark.parametrize("name", LISTS)
def test_values_with_commas_are_several(name):
    values = LISTS[name].split()
    command = parsed(["build"]).command
    field = next(each.name for each in command.params if name in each.opts)
    for words in ([f"{name}={','.join(values)}"], [f"{name}={value}" for value in values]):
        assert parsed(["build", *words]).params[field] == tuple(values)


@pytest.mark.parametrize("words", ["--platform=a/b,a/c", "--platform=a/b --platform a/c"])
def test_several_platforms_are_refused_however_they_are_given(words):
    with pytest.raises(click.UsageError, match="building for several platforms"):
        parsed(["build", *words.split()])
    for one in ("--platform=a/b", "--platform=a/b --platform=a/b"):
        assert parsed(["build", *one.split()]).params["platform"] == "a/b"


def test_what_is_said_of_a_value_names_a_way_out():
    for words, said in (
        ("--cache-from a", "keep that directory between builds"),
        ("--builder a", "leave it out"),
        ("--platform linux/amd64,linux/arm64", "build and push each platform"),
    ):
        with pytest.raises(click.UsageError) as caught:
            parsed(["build", *words.split()])
        assert said in caught.value.format_message()


@pytest.mark.parametrize(
    ("before", "behind", "debug"),
    [
        ("", "", False),
        ("--log-level debug", "", True),
        ("-l=trace", "", True),
        ("--log-level=warn --storage-driver vfs --cgroup-manager=cgroupfs", "", False),
        ("", "--log-level=debug --storage-driver=vfs", True),
        ("", "--log-level error", False),
    ],
)
def test_levels_of_messages(before, behind, debug):
    context = cli.make_context("ocitool", [*before.split(), "build", *behind.split()])
    with context:
        click.Context.invoke(context, cli.callback, **context.params)
        name, command, rest = cli.resolve_command(context, ["build", *behind.split()])
        assert command is not None
        assert command.make_context(name, rest, parent=context).obj.debug is debug


# -- the peers' own lists --------------------------------------------------------------------

#: What a peer's help has and no page of it: its own help, and docker's global options.
OWN = {"--help"}
PEERS = {
    "docker build": ("docker", "build", "--help"),
    "buildah build": ("buildah", "build", "--help"),
    "podman build": ("podman", "build", "--help"),
    "docker [OPTIONS]": ("docker", "--help"),
    "buildah [OPTIONS]": ("buildah", "--help"),
    "podman [OPTIONS]": ("podman", "--help"),
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
    builder = "buildah build" if peer == "podman build" else peer
    ours = {name for row in PAGE["rows"](builder) for name in row.names}
    assert theirs - ours == set()
