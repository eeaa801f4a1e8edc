"""Mistakes with git repositories, and repositories that mean harm."""

from __future__ import annotations

import os

import pytest

from ocitool.errors import OcitoolError
from tests.fixtures.deadlines import within
from tests.fixtures.git_server import Repository, git
from tests.unit.builder.conftest import kept, refused, scratch

pytestmark = pytest.mark.slow

NOBODY = "1" * 40


# -- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("{url}#mian /s/", "repository does not contain ref mian", "did you mean main?"),
        ("{url}?tag=v2 /s/", "repository does not contain ref refs/tags/v2", "did you mean v1?"),
        (
            "{url}#ab12 /s/",
            "repository does not contain ref ab12",
            "name a commit by all of its 40",
        ),
        (f"{{url}}#{NOBODY} /s/", "failed to fetch remote|does not contain commit", ""),
        ("{url}#:nothing /s/", 'failed to open subdir "nothing": not found', "name a directory"),
        ("{url}#:a.txt /s/", 'failed to open subdir "a.txt": is not a directory', "name a dir"),
        ("--checksum=0123 {url}#v1 /s/", "expected checksum to match 0123, got ", "the repository"),
        ("--checksum=xyz {url} /s/", "invalid checksum xyz for Git URL", "the ID of the commit"),
        ("--checksum=01 {url} f /s/", "checksum can't be specified for multiple", "write an ADD"),
        (
            "--keep-git-dir=false {url}?keep-git-dir /s/",
            "inconsistent keep-git-dir",
            "--keep-git-dir and",
        ),
        ("{url}?branch=a&tag=b /s/", "branch conflicts with tag", "leave one"),
        ("{gone} /s/", "failed to fetch remote {gone}: ", "check the URL"),
        ("{closed} /s/", "failed to fetch remote {closed}: ", "check the URL and the network"),
        ("{page} /s/", "failed to fetch remote {page}: ", "check the URL"),
        ("{empty} /s/", "the repository has no default branch", "the repository is empty"),
    ],
)
def test_a_mistake_has_place_and_remedy(project, git_server, repository, line, message, hint):
    (project.top / "f").write_text("f")
    git_server.repository("empty.git")
    (git_server.root / "page.git").mkdir()
    urls = {
        name: repository.url.replace("r.git", f"{name}.git") for name in ("gone", "page", "empty")
    }
    urls |= {"url": repository.url, "closed": "http://127.0.0.1:1/r.git"}
    error = refused(project, f"ADD {line.format(**urls)}")
    wanted = message.format(**urls).split("|")
    assert any(text in error.message for text in wanted)
    assert error.hint.startswith(hint)


def test_git_is_not_installed(project, repository, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refused(project, f"ADD {repository.url} /s/")
    assert "is not installed" in error.message and error.hint == "install the package git"


def test_git_is_too_old(project, repository, tmp_path, monkeypatch):
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\necho git version 2.30.2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    error = refused(project, f"ADD {repository.url} /s/")
    assert error.message == "git 2.30 is too old: git 2.31 or newer is needed"


def test_copy_of_a_repository_is_refused(project, repository):
    with pytest.raises(OcitoolError) as caught:
        project.build(scratch(f"COPY {repository.url} /s/"))
    assert caught.value.message == "source can't be a git ref for COPY"


def test_files_of_the_user_do_not_matter(project, repository, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text('[url "http://127.0.0.1:1/"]\n\tinsteadOf = http://\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    assert project.build(scratch(f"ADD {repository.url} /s/")).read("s/a.txt") == "two\n"


# -- repositories that mean harm ------------------------------------------------------------


def serve(repository: Repository, entries: list[str]) -> None:
    """Let ``main`` be a commit of exactly these entries, of which BLOB is a small script."""
    at = repository.path
    blob = git("hash-object", "-w", "--stdin", at=at, given="#!/bin/sh\ntouch $MARK\n")
    tree = ""
    for level in entries[::-1]:  # the innermost directory last
        level = level.replace("BLOB", blob).replace("TREE", tree)
        tree = git("mktree", "--missing", at=at, given=f"{level}\n")
    commit = git("commit-tree", "-m", "harm", tree, at=at)
    git("update-ref", "refs/heads/main", commit, at=at)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            [
                "040000 tree TREE\t.git",
                "040000 tree TREE\thooks",
                "100755 blob BLOB\tpost-checkout",
            ],
            "invalid path '.git/hooks/post-checkout'",
        ),
        (["040000 tree TREE\t.GIT", "100644 blob BLOB\tconfig"], "invalid path '.GIT/config'"),
        (["040000 tree TREE\t..", "100644 blob BLOB\tout"], "invalid path '../out'"),
        (["100644 blob BLOB\t.wh.a"], "a name that begins with .wh. cannot be in a layer"),
    ],
)
def test_names_that_no_repository_has(project, repository, entries, message):
    serve(repository, entries)
    assert message in refused(project, f"ADD {repository.url} /s/").message


def test_directories_deeper_than_those_of_layers(project, git_server):
    """More than Python calls itself, too."""
    made = git_server.repository()
    path = "/".join(["d"] * 1100)
    text = "commit refs/heads/main\ncommitter a <a@b> 0 +0000\ndata 0\n"
    text += f"M 100644 inline {path}/f\ndata 1\nx\n"
    git("fast-import", "--quiet", at=made.path, given=text)
    error = refused(project, f"ADD {made.url} /s/")
    assert error.message == "directories are nested more than 256 deep"


@pytest.mark.parametrize("target", ["/etc", "..", "a/../../..", "/proc/self/cwd"])
def test_a_subdirectory_that_leads_out(project, git_server, target):
    made = git_server.repository()
    made.commit({"a/f": "f", "out": {"link": target}})
    error = refused(project, f"ADD {made.url}#:out /s/")
    assert error.message == 'subdir "out" leads out of the repository'


def test_a_subdirectory_behind_a_link_inside(project, git_server):
    made = git_server.repository()
    made.commit({"a/f": "f", "in": {"link": "a"}})
    assert list(project.build(scratch(f"ADD {made.url}#:in /")).tree) == ["f"]


@pytest.mark.parametrize(
    "setting",
    [
        "url = ext::sh -c touch% MARK",
        "url = --upload-pack=touch MARK",
        "url = file://ROOT/r.git",
        "url = ROOT/r.git",
        "url = ../r.git\n\tupdate = !touch MARK",
        "url = ../r.git\n\tpath = .git/hooks",
        "url = ssh://-oProxyCommand=touch% MARK/x",
    ],
)
def test_a_submodule_that_would_execute_or_read_what_is_here(
    project, git_server, parent, tmp_path, setting
):
    mark = tmp_path / "mark"
    setting = setting.replace("MARK", str(mark)).replace("ROOT", str(git_server.root))
    text = f'[submodule "lib/r"]\n\tpath = lib/r\n\t{setting}\n'
    if setting.startswith("url = ../r.git\n\tpath"):
        text = text.replace("path = lib/r\n", "", 1)
    parent.commit({".gitmodules": text})
    with pytest.raises(OcitoolError) as caught:
        project.build(scratch(f"ADD {parent.url} /s/"))
    assert "failed to update submodules for" in caught.value.message
    assert not mark.exists() and kept(project) == []


def test_a_server_that_lies_about_the_commit_of_a_tag(project, git_server, repository):
    """Otherwise files of its choice had any checksum, and were kept for that commit."""
    trusted = repository.git("rev-parse", "main")
    repository.git("tag", "-a", "-m", "", "evil", repository.commit({"a.txt": "evil\n"}))
    repository.push("refs/tags/evil")
    listed = (repository.path / "info/refs").read_text()
    evil = repository.git("rev-parse", "evil^{commit}")
    assert f"{evil}\trefs/tags/evil^{{}}" in listed
    lie = listed.replace(f"{evil}\trefs/tags/evil^{{}}", f"{trusted}\trefs/tags/evil^{{}}")
    (repository.path / "info/refs").write_text(lie)
    git_server.plain_files = True
    error = refused(project, f"ADD --checksum={trusted} {repository.url}#evil /s/")
    assert error.message == (
        f"the server says that refs/tags/evil is commit {trusted}, but it is {evil}"
    )
    built = project.build(scratch(f"ADD {repository.url}#{trusted} /s/"))
    assert built.read("s/a.txt") == "two\n"


def test_attributes_execute_nothing(project, git_server):
    made = git_server.repository()
    made.commit({".gitattributes": "* filter=lfs diff=x merge=y\n", "f": "f\n"})
    assert project.build(scratch(f"ADD {made.url} /s/")).read("s/f") == "f\n"


def test_a_default_branch_that_looks_like_an_option(project, repository):
    git("update-ref", "refs/heads/--upload-pack=x", "refs/heads/main", at=repository.path)
    git("symbolic-ref", "HEAD", "refs/heads/--upload-pack=x", at=repository.path)
    built = project.build(scratch(f"ADD --keep-git-dir {repository.url} /s/"))
    assert built.read("s/a.txt") == "two\n"


def test_an_interrupt_ends_git_and_what_it_has_started(project, repository, tmp_path, monkeypatch):
    program, held = tmp_path / "bin/git", tmp_path / "held"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\n[ $1 = version ] && exit\nexec 3>{held}\nsleep 1000 &\nkill -INT $PPID\nwait\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    os.mkfifo(held)
    reading = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(KeyboardInterrupt):
            project.build(scratch(f"ADD {repository.url} /s/"))
        assert kept(project) == []
        os.set_blocking(reading, True)
        with within(30):
            assert os.read(reading, 1) == b""  # the last process that had it has ended
    finally:
        os.close(reading)
