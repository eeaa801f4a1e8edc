"""Programs of the host are found by PATH, and never in the working directory."""

from __future__ import annotations

import os

import pytest

from ocitool.builder.git.program import Git, GitFailed
from ocitool.builder.outputs.engine import docker_host, find_engine
from ocitool.cli.build_options.proxies import proxies
from ocitool.drivers import probes
from ocitool.errors import OcitoolError
from ocitool.programs import find_program, search_path
from ocitool_registry.auth import helpers
from ocitool_runtime.host import private_network
from ocitool_runtime.host.userns import idmap
from tests.fixtures.trees import HOSTILE_PROGRAMS


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("/a:/b", "/a:/b"),
        (":/a", "/a"),
        ("/a:", "/a"),
        ("/a::/b", "/a:/b"),
        (".:/a", "/a"),
        ("bin:/a:../b:~/c", "/a"),
        ("", os.defpath),
        (".", os.defpath),
        (None, os.defpath),
    ],
)
def test_only_absolute_directories_of_path_count(given, used):
    assert search_path({} if given is None else {"PATH": given}) == used


def test_a_program_is_a_file_that_can_be_executed(tmp_path, monkeypatch):
    for name in ("directory", "text", "right"):
        (tmp_path / name).mkdir()
    (tmp_path / "directory/tool").mkdir()
    (tmp_path / "text/tool").write_text("")
    (tmp_path / "right/tool").write_text("")
    (tmp_path / "right/tool").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/directory:{tmp_path}/text:{tmp_path}/right")
    assert find_program("tool") == f"{tmp_path}/right/tool"
    assert find_program("tool", f"{tmp_path}/text") is None
    assert find_program("other") is None


@pytest.fixture(params=["", ".", "./", "../hostile"])
def hostile_path(hostile_directory, monkeypatch, request):
    """The hostile directory is the working directory, and comes first in PATH."""
    monkeypatch.chdir(hostile_directory)
    monkeypatch.setenv("PATH", request.param, prepend=":")
    monkeypatch.setenv("DOCKER_CONFIG", str(hostile_directory.parent))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    yield hostile_directory
    assert not (hostile_directory / "imported").exists()


@pytest.mark.slow
def test_no_program_comes_from_the_working_directory(hostile_path, session_tree):
    assert not [name for name in HOSTILE_PROGRAMS if (find_program(name) or "/")[0] != "/"]
    assert helpers.get("fake", "registry.example") is None
    probes.try_fuse(str(session_tree))
    for find in (lambda: private_network.helper(userns=True), find_engine):
        try:
            found = find()
        except OcitoolError:  # no such program or device on this machine
            continue
        assert "hostile" not in repr(vars(found) if hasattr(found, "load") else found)
    for tool in ("newuidmap", "newgidmap"):
        assert (idmap._find(tool) or "/").startswith("/")


def test_git_finds_no_ssh_among_the_files_of_a_repository(hostile_path):
    # git is started in the directory of the files that it has checked out.
    git = Git(str(hostile_path), {})
    with pytest.raises((GitFailed, OcitoolError)):
        git.run("ls-remote", "ssh://git@127.0.0.1:1/x.git", directory=str(hostile_path))


def test_without_a_home_directory_nothing_is_read_from_one_that_is_called_tilde(
    tmp_path, monkeypatch
):
    config = tmp_path / "~/.docker/config.json"
    config.parent.mkdir(parents=True)
    config.write_text('{"currentContext": "x", "proxies": {"default": {"httpProxy": "http://e"}}}')
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "DOCKER_CONFIG", "DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)

    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)  # as in a container with any user
    assert proxies(False) == {}
    assert docker_host() == "unix:///var/run/docker.sock"
