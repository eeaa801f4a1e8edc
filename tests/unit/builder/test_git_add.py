"""ADD of git repositories, from a real server on this machine."""

from __future__ import annotations

import os
import subprocess

import pytest

from ocitool.store.maintenance.check.check import check
from ocitool.store.maintenance.prune import prune
from ocitool.store.maintenance.usage.usage import usage
from tests.fixtures.git_server import FIRST, git
from tests.unit.builder.conftest import kept, refused, scratch

pytestmark = pytest.mark.slow

NOBODY = "1" * 40


def test_the_files_of_the_default_branch(project, repository):
    umask = os.umask(0o077)
    try:
        built = project.build(scratch(f"ADD {repository.url} /src"))
    finally:
        os.umask(umask)
    members = {member.name.rstrip("/"): member for member in built.layers[0]}
    assert {path: f"{member.mode:o}" for path, member in members.items()} == {
        "src": "755",
        "src/a.txt": "644",
        "src/link": "777",
        "src/run": "755",
        "src/sub": "755",
        "src/sub/b.txt": "644",
        "src/sub/deep": "755",
        "src/sub/deep/c.txt": "644",
    }
    assert members["src/link"].linkname == "a.txt"
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    assert built.read("src/a.txt") == "two\n"
    assert [each["created_by"] for each in built.history] == [f"ADD {repository.url} /src"]
    assert kept(project) == []


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("#v1", "one\n"),
        ("#v1a", "one\n"),
        ("#tags/v1a", "one\n"),
        ("#main", "two\n"),
        ("#refs/heads/main", "two\n"),
        ("#team/side", "two\n"),
        ("?tag=v1a", "one\n"),
        ("?branch=team/side&submodules=false", "two\n"),
    ],
)
def test_a_ref_names_the_commit(project, repository, suffix, text):
    built = project.build(scratch(f"ADD {repository.url}{suffix} /src/"))
    assert built.read("src/a.txt") == text
    assert ("src/side.txt" in built.tree) == ("side" in suffix)


@pytest.mark.parametrize("suffix", ["#v1:sub", "#:/sub/", "?subdir=sub"])
def test_of_a_subdirectory_the_files_alone(project, repository, suffix):
    built = project.build(scratch(f"ADD {repository.url}{suffix} /"))
    assert list(built.tree) == ["b.txt", "deep", "deep/c.txt"]


def test_flags_are_those_of_other_sources(project, repository):
    flags = "--chown=7:8 --chmod=750 --exclude=sub/deep --exclude=link"
    built = project.build(scratch(f"ADD {flags} {repository.url} /src/"))
    assert {path: said.split()[1:3] for path, said in built.tree.items()} == {
        path: ["750", "7:8"] for path in ("src", "src/a.txt", "src/run", "src/sub", "src/sub/b.txt")
    }
    # Without a slash the repository's own directory is copied, and --chmod is for it, too.
    for chmod, slash, mode in (("go-rx", "", "700"), ("go-rx", "/", "755"), ("3755", "", "3755")):
        made = project.build(scratch(f"ADD --chmod={chmod} {repository.url} /new{slash}"))
        assert made.tree["new"] == f"5 {mode} 0:0"
    # Another pattern is another step.
    less = project.build(scratch(f"ADD {flags} --exclude=run {repository.url} /src/"))
    assert "src/run" not in less.tree and "src/a.txt" in less.tree
    linked = project.build(scratch("COPY --link <<f /x\nf\n", f"ADD --link {repository.url} /x/"))
    assert "x/a.txt" in linked.tree


def test_variables_quotes_and_triggers(project, repository):
    commit = repository.git("rev-parse", "v1")
    lines = (
        f"ARG REF=v1 SUM={commit[:9]}",
        f'ADD --checksum=$SUM ["{repository.url}#$REF", "/a b/"]',
    )
    built = project.build(scratch(*lines))
    assert built.read("a b/a.txt") == "one\n"
    trigger = f"ONBUILD ADD {repository.url}#v1:sub /s/"
    fired = project.build(f"FROM scratch AS base\n{trigger}\nFROM base\n")
    assert fired.read("s/b.txt") == "b\n"


def test_an_annotated_tag_may_be_named_by_its_id(project, repository):
    tag = repository.git("rev-parse", "v1a")
    assert tag != repository.git("rev-parse", "v1a^{commit}")
    for flags in ("", "--keep-git-dir "):
        built = project.build(scratch(f"ADD {flags}{repository.url}#{tag} /s/"))
        assert built.read("s/a.txt") == "one\n"


def test_files_of_the_context_and_a_repository_together(project, repository):
    (project.top / "f").write_text("f")
    built = project.build(scratch(f"ADD f {repository.url}#v1:sub /src/"))
    assert sorted(built.tree) == ["src", "src/b.txt", "src/deep", "src/deep/c.txt", "src/f"]


def test_archives_of_a_repository_are_not_unpacked(project, git_server):
    made = git_server.repository()
    made.commit({"d/a.tar": {"tar": {"f": "f"}}})
    assert list(project.build(scratch(f"ADD --unpack {made.url} /")).tree) == ["d", "d/a.tar"]


# -- the cache ------------------------------------------------------------------------------


def test_a_second_build_asks_once_which_commit_it_is(project, git_server, repository):
    file = scratch(f"ADD {repository.url} /a/", f"ADD {repository.url}#team/side /b/")
    first = project.build(file)
    git_server.requests.clear()
    second = project.build(file)
    assert second.digest == first.digest and second.executed == []
    assert [path.partition("?")[2] for path in git_server.asked] == ["service=git-upload-pack", ""]


def test_a_commit_that_is_named_needs_no_server_once_it_is_cached(project, git_server, repository):
    commit = repository.git("rev-parse", "main")
    file = scratch(f"ADD --checksum={commit} {repository.url}#{commit} /a/")
    first = project.build(file)
    assert first.read("a/a.txt") == "two\n"
    git_server.requests.clear()
    assert project.build(file).digest == first.digest
    assert git_server.requests == []


LISTED = ["/info/refs", "/git-upload-pack"]


def names(git_server) -> list[str]:
    """Return what the server was asked since the last call, without the name of the repository."""
    found = [f"/{path.partition('?')[0].partition('.git/')[2]}" for path in git_server.asked]
    git_server.requests.clear()
    return found


@pytest.mark.parametrize(
    ("suffix", "flag"),
    [("", ""), ("#v1a:sub", ""), ("?keep-git-dir=1&mtime=commit", ""), ("#v1", "--keep-git-dir")],
)
def test_files_that_were_fetched_are_not_fetched_again(
    project, git_server, repository, suffix, flag
):
    """A step without cache takes them from the build cache, and makes the same layer of them."""
    file, options = scratch(f"ADD {flag} {repository.url}{suffix} /a/"), {"no_cache": True}
    first = project.build(file, source_date_epoch=FIRST + 9999, **options)
    assert len(names(git_server)) > len(LISTED)
    second = project.build(file, source_date_epoch=FIRST + 9999, **options)
    assert second.executed and second.digest == first.digest
    assert names(git_server) == LISTED
    assert kept(project) == []


def test_files_of_submodules_are_kept(project, git_server, parent):
    file = scratch(f"ADD {parent.url} /a/")
    first = project.build(file, no_cache=True)
    names(git_server)
    second = project.build(file, no_cache=True)
    assert names(git_server) == LISTED
    assert second.tree.keys() == first.tree.keys() and "a/lib/r/a.txt" in second.tree


@pytest.mark.parametrize(
    ("suffix", "checksum", "asked"),
    [("#{0}", "", []), ("#main", "{0}", []), ("?commit={0}", "", []), ("#main", "{0:.7}", LISTED)],
)
def test_a_whole_commit_that_is_kept_needs_no_server(
    project, git_server, repository, suffix, checksum, asked
):
    commit = repository.git("rev-parse", "main")
    flag = checksum and f"--checksum={checksum.format(commit)}"
    line = f"ADD {flag} {repository.url}{suffix.format(commit)}"
    project.build(scratch(f"{line} /a/"))
    names(git_server)
    assert project.build(scratch(f"{line} /b/")).read("b/a.txt") == "two\n"
    assert names(git_server) == asked


def test_a_commit_by_some_of_its_digits_is_that_of_a_branch_or_a_tag(project, repository):
    commit = repository.git("rev-parse", "v1^{commit}")
    built = project.build(scratch(f"ADD {repository.url}?commit={commit[:8]} /a/"))
    assert built.read("a/a.txt") == "one\n"
    error = refused(project, f"ADD {repository.url}?ref={commit[:8]} /a/")
    assert "repository does not contain ref" in str(error)


def test_what_is_kept_of_a_repository_is_of_the_build_cache(project, git_server, repository):
    file = scratch(f"ADD {repository.url} /a/")
    project.build(file)
    before = usage(project.store)
    sizes = {row.kind: row for row in before.rows}
    (record,) = [each for each in before.cache if not each.shared and each.blob]
    assert sizes["Build cache"].size == record.blob_size > 0
    assert not list(check(project.store))
    project.store.end_lease()
    pruned = prune(project.store)
    assert pruned.cache == len(before.cache) and pruned.size >= record.blob_size
    names(git_server)
    project.build(file)
    assert len(names(git_server)) > len(LISTED)


def test_names_of_one_commit_share_a_layer(project, repository):
    commit = repository.git("rev-parse", "v1")
    for suffix in ("#v1", "#v1a", f"#{commit}", "?tag=v1a&submodules=true"):
        built = project.build(scratch(f"ADD {repository.url}{suffix} /a/"))
        assert (built.executed == []) == (suffix != "#v1")


@pytest.mark.parametrize(
    "suffix", ["#main", "#v1:sub", "?tag=v1&submodules=false", "?tag=v1&mtime=commit"]
)
def test_another_commit_or_another_part_is_another_layer(project, repository, suffix):
    project.build(scratch(f"ADD {repository.url}#v1 /a/"))
    assert project.build(scratch(f"ADD {repository.url}{suffix} /a/")).executed


def test_a_branch_that_has_moved_is_fetched(project, repository):
    file = scratch(f"ADD {repository.url}#main /a/")
    project.build(file)
    repository.commit({"a.txt": "three\n"})
    assert project.build(file).read("a/a.txt") == "three\n"


def test_two_builds_without_cache_are_the_same_with_an_epoch(project, repository):
    file = scratch(f"ADD --keep-git-dir {repository.url} /a/")
    built = []
    for _ in range(2):  # both fetched
        built.append(project.build(file, source_date_epoch=FIRST + 7))
        project.store.build_cache.clear()
    assert built[0].digest == built[1].digest
    assert {member.mtime for member in built[0].layers[0]} == {FIRST + 7}


def test_the_time_of_the_commit(project, repository):
    built = project.build(scratch(f"ADD {repository.url}?tag=v1&mtime=commit /src/"))
    assert {member.mtime for member in built.layers[0]} == {FIRST}


# -- submodules -----------------------------------------------------------------------------


def test_submodules_are_fetched(project, parent):
    built = project.build(scratch(f"ADD {parent.url} /src/"))
    assert built.read("src/lib/r/a.txt") == "two\n"
    assert not any(".git" in path.split("/") for path in built.tree)


def test_submodules_are_left_out(project, parent):
    built = project.build(scratch(f"ADD {parent.url}?submodules=false /src/"))
    assert sorted(built.tree) == ["src", "src/.gitmodules", "src/lib", "src/lib/r", "src/top.txt"]


def test_submodules_of_a_server_of_plain_files(project, git_server, parent):
    git_server.plain_files = True
    assert project.build(scratch(f"ADD {parent.url} /src/")).read("src/lib/r/a.txt") == "two\n"


def test_a_submodule_may_be_the_subdirectory(project, parent):
    built = project.build(scratch(f"ADD {parent.url}#:lib/r /src/"))
    assert "src/a.txt" in built.tree and "src/.git" not in built.tree


def test_a_submodule_that_is_missing(project, git_server, parent):
    (git_server.root / "r.git").rename(git_server.root / "gone.git")
    error = refused(project, f"ADD {parent.url} /src/")
    assert error.message.startswith(f"failed to update submodules for {parent.url}: ")
    assert error.hint


# -- .git -----------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["--keep-git-dir {} /s", "{}?keep-git-dir=1 /s"])
def test_git_works_on_what_is_kept(project, parent, written, tmp_path):
    built = project.build(scratch(f"ADD {written.format(parent.url)}"))
    for number, tar in enumerate(built.tars):
        (tmp_path / f"{number}.tar").write_bytes(tar)
        subprocess.run(["tar", "-xf", f"{number}.tar"], cwd=tmp_path, check=True)
    at = tmp_path / "s"
    safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*"}  # fmt: skip
    assert git("status", "--porcelain", at=at, **safe) == ""
    assert git("log", "--format=%H", at=at, **safe) == parent.git("rev-parse", "main")
    assert git("branch", "--list", "main", at=at, **safe)
    assert git("remote", "get-url", "origin", at=at, **safe) == parent.url
    assert git("fsck", "--strict", at=at, **safe) == ""
    assert git("status", "--porcelain", at=at / "lib/r", **safe) == ""
    assert not {"s/.git/hooks", "s/.git/FETCH_HEAD"} & built.tree.keys()


def test_an_annotated_tag_is_kept(project, repository):
    built = project.build(scratch(f"ADD --keep-git-dir {repository.url}#v1a /s/"))
    packed = built.tree.keys()
    assert "s/.git/refs/tags/v1a" in packed
    assert built.read("s/.git/refs/tags/v1a").strip() == repository.git("rev-parse", "v1a")


def test_git_of_a_subdirectory_is_not_kept_with_a_warning(project, repository):
    built = project.build(scratch(f"ADD --keep-git-dir {repository.url}#:sub /s/"))
    assert "s/.git" not in built.tree
    assert any("not kept for a subdirectory" in text for text in built.warnings)


@pytest.mark.parametrize("flag", ["--keep-git-dir", "--keep-git-dir=false"])
def test_with_keep_git_dir_any_url_is_that_of_a_repository(project, git_server, flag):
    made = git_server.repository("plain")
    made.commit({"a": "1"})
    built = project.build(scratch(f"ADD {flag} {made.url}#main /s/"))
    assert built.read("s/a") == "1"
    assert ("s/.git/HEAD" in built.tree) == (flag == "--keep-git-dir")
    assert built.warnings == ()


def test_keep_git_dir_without_a_repository_is_a_warning(project):
    (project.top / "f").write_text("f")
    built = project.build(scratch("ADD --keep-git-dir f /s/"))
    assert any("no source is a git repository" in text for text in built.warnings)
