"""What servers of git repositories can do, and credentials for them."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from ocitool.builder.git import program
from ocitool.builder.git.program import Git, GitFailed
from tests.unit.builder.conftest import refused, scratch

pytestmark = pytest.mark.slow

# -- what a server can do -------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "#v1a", "#team/side"])
def test_a_server_of_plain_files(project, git_server, repository, suffix):
    """It sends no commit without its history, nor one by its ID."""
    git_server.plain_files = True
    built = project.build(scratch(f"ADD {repository.url}{suffix} /src/"))
    assert built.read("src/a.txt") == ("one\n" if suffix == "#v1a" else "two\n")


@pytest.mark.parametrize("kind", ["new", "old", "plain files"])
def test_a_commit_that_no_branch_has_at_its_end(project, git_server, repository, kind):
    """A server may refuse what it has not listed; then all branches and tags are fetched."""
    middle = repository.git("rev-parse", "main")
    repository.commit({"a.txt": "three\n"})
    repository.git("push", "-q", str(repository.path), "--delete", "team/side")
    repository.push("main")
    git_server.old, git_server.plain_files = kind == "old", kind == "plain files"
    built = project.build(scratch(f"ADD {repository.url}#{middle} /src/"))
    assert built.read("src/a.txt") == "two\n"


@pytest.mark.parametrize("kind", ["new", "old"])
def test_a_ref_that_has_moved_from_the_commit_of_the_checksum(
    project, git_server, repository, kind
):
    git_server.old = kind == "old"
    before = repository.git("rev-parse", "main")
    url = f"{repository.url}?branch=main&checksum={before}"
    repository.commit({"a.txt": "three\n"})
    error = refused(project, f"ADD {url} /s/")
    after = repository.git("rev-parse", "main")
    assert error.message == f"expected checksum to match {before}, got {after}"
    built = project.build(scratch(f"ADD {url}&fetch-by-commit=true /s/"))
    assert built.read("s/a.txt") == "two\n"


def test_nothing_but_the_commit_is_fetched(project, repository):
    built = project.build(scratch(f"ADD --keep-git-dir {repository.url}#main /src/"))
    assert built.read("src/.git/shallow").split() == [repository.git("rev-parse", "main")]


def test_ids_may_be_those_of_sha256(project, git_server):
    made = git_server.repository("r.git", "--object-format=sha256")
    commit = made.commit({"f": "f\n"})
    assert len(commit) == 64
    for suffix in ("", f"#{commit}"):
        assert project.build(scratch(f"ADD {made.url}{suffix} /x/")).read("x/f") == "f\n"


# -- credentials ----------------------------------------------------------------------------


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize("end", ["", ".127.0.0.1", ".{}"])
@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("GIT_AUTH_TOKEN", basic("x-access-token:s3cret")),
        ("GIT_AUTH_HEADER", "s3cret"),
    ],
)
def test_a_secret_opens_a_private_repository(project, git_server, repository, kind, header, end):
    git_server.header = header
    secrets = {kind + end.format(git_server.address): b"s3cret\n"}
    built = project.build(scratch(f"ADD {repository.url} /s/"), secrets=secrets)
    assert built.read("s/a.txt") == "two\n"


def test_the_secret_of_a_host_comes_first_and_that_of_another_is_not_sent(
    project, git_server, repository
):
    git_server.header = "right"
    secrets = {
        "GIT_AUTH_TOKEN": b"wrong",
        "GIT_AUTH_HEADER.127.0.0.1": b"right",
        "GIT_AUTH_HEADER.example.com": b"wrong",
    }
    project.build(scratch(f"ADD {repository.url} /s/"), secrets=secrets)
    git_server.header = ""
    git_server.requests.clear()
    del secrets["GIT_AUTH_TOKEN"], secrets["GIT_AUTH_HEADER.127.0.0.1"]
    project.build(scratch(f"ADD {repository.url} /t/"), secrets=secrets, no_cache=True)
    assert not any(headers["Authorization"] for _, headers in git_server.requests)


def test_user_and_password_of_the_url_are_sent_and_not_shown(project, git_server, repository):
    git_server.header = basic("ann:s3c@ret")
    private = repository.url.replace("http://", "http://ann:s3c%40ret@")
    built = project.build(scratch(f"ADD --keep-git-dir {private} /s/"))
    shown = repository.url.replace("http://", "http://xxxxx:xxxxx@")
    assert built.history[0]["created_by"] == f"ADD {shown} /s/"
    assert built.executed == [f"ADD --keep-git-dir {shown} /s/"]
    assert not any(b"s3c" in tar for tar in built.tars)


@pytest.mark.parametrize("given", ["no", "wrong"])
def test_a_private_repository_without_its_secret(project, git_server, repository, given):
    git_server.header = "right"
    url = repository.url
    if given == "wrong":
        url = url.replace("http://", "http://ann:s3cret@")
    error = refused(project, f"ADD {url} /s/")
    said = "refuses the" if given == "wrong" else "asks for"
    assert error.message.endswith(f"/r.git: the server {said} credentials")
    assert "GIT_AUTH_TOKEN" in error.hint
    assert "s3cret" not in f"{error} {error.hint} {error.excerpt} {error.__cause__}"


def test_credentials_do_not_follow_redirects(project, git_server, repository):
    git_server.moved["old.git"] = f"http://localhost:{git_server.address.rpartition(':')[2]}/r.git"
    old = repository.url.replace("r.git", "old.git")
    secrets = {"GIT_AUTH_TOKEN": b"s3cret"}
    error = refused(project, f"ADD {old} /s/", secrets=secrets)
    assert "redirects" in error.hint
    assert all("/old.git" in path for path in git_server.asked)
    assert project.build(scratch(f"ADD {old} /s/")).read("s/a.txt") == "two\n"


def test_no_secret_is_an_argument_of_a_program(
    project, git_server, repository, tmp_path, monkeypatch
):
    real = shutil.which("git")
    log = tmp_path / "log"
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin/git"
    wrapper.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{log}\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    private = repository.url.replace("http://", "http://ann:s3cret@")
    project.build(scratch(f"ADD {private} /s/"), secrets={"GIT_AUTH_TOKEN": b"t0ken"})
    said = log.read_text()
    assert "fetch" in said and repository.url in said
    for secret in ("s3cret", "t0ken", basic("ann:s3cret"), basic("x-access-token:t0ken")):
        assert secret not in said


@pytest.mark.parametrize("url", ["file://{}/r.git", "{}/r.git", "ext::git %s {}/r.git"])
def test_nothing_of_this_machine_is_a_repository(repository, tmp_path, url):
    """Whatever a repository names as a submodule."""
    with pytest.raises(GitFailed, match="not allowed"):
        Git(str(tmp_path), {}).run("ls-remote", "--", url.format(repository.path.parent))


def test_refs_without_end_are_refused(project, repository, monkeypatch):
    monkeypatch.setattr(program, "_LARGEST", 100)
    error = refused(project, f"ADD {repository.url} /s/")
    assert error.message == "the repository has more than 100 bytes of refs" and error.hint


# -- ssh ------------------------------------------------------------------------------------

#: In place of ssh: it keeps its arguments and what the agent lists, and executes the command here.
SSH = """\
#!{python}
import os, socket, sys
with open("{log}", "a") as log:
    print(*sys.argv[1:], file=log)
    if "SSH_AUTH_SOCK" in os.environ:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.connect(os.environ["SSH_AUTH_SOCK"])
            agent.sendall(b"\\0\\0\\0\\1\\x0b")
            print("agent", agent.recv(9).hex(), file=log)
words = sys.argv[-1].replace("'/", "'{root}/")
os.environ.update(GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
os.execvp("sh", ["sh", "-c", words])
"""


@pytest.fixture
def ssh(git_server, tmp_path, monkeypatch) -> Path:
    """The file with what ssh was asked, which reaches the repositories of the server."""
    log, program = tmp_path / "ssh.log", tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(SSH.format(python=sys.executable, log=log, root=git_server.root))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "none"))
    return log


@pytest.mark.parametrize("url", ["ssh://git@h.example:22/r.git", "git@h.example:/r.git"])
def test_ssh_uses_no_key_and_asks_nobody(project, repository, ssh, url):
    assert project.build(scratch(f"ADD {url}#v1 /s/")).read("s/a.txt") == "one\n"
    said = ssh.read_text()
    assert "agent" not in said and "git@h.example" in said
    for option in ("-F none", "BatchMode=yes", "StrictHostKeyChecking=yes", "IdentityFile=none"):
        assert option in said


def test_ssh_has_the_agent_of_the_build(project, repository, ssh, tmp_path, monkeypatch):
    """It is that of ``--ssh default``, here one that has ended: which fails each request.

    Its socket is where the next build removes what a kill has left: not in /tmp.
    """
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    path = str(tmp_path / "agent")
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(path)
    project.build(scratch("ADD git@h.example:/r.git#v1 /s/"), ssh=(f"default={path}",))
    said = ssh.read_text().splitlines()
    assert said[1::2] == ["agent 0000000105"] * 2  # listed the refs, and fetched


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("git@h: Permission denied (publickey).", "pass the key of an SSH agent: --ssh default"),
        ("Host key verification failed.", "add the key of the host to ~/.ssh/known_hosts"),
    ],
)
def test_ssh_says_why(project, ssh, said, hint):
    program = ssh.parent / "bin/ssh"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2; exit 255\n")
    error = refused(project, "ADD git@h:r.git /s/")
    assert error.message == f"failed to fetch remote git@h:r.git: {said}"
    assert error.hint.startswith(hint)
