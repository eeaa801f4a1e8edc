"""Which commit a name means, in what ``git ls-remote --symref`` writes."""

from __future__ import annotations

import pytest

from ocitool.builder.git.refs import Refs
from ocitool.errors import BuildError

IDS = [str(number) * 40 for number in range(8)]
LISTED = f"""\
ref: refs/heads/main\tHEAD
{IDS[0]}\tHEAD
{IDS[0]}\trefs/heads/main
{IDS[1]}\trefs/heads/both
{IDS[2]}\trefs/heads/a/b
{IDS[3]}\trefs/tags/both
{IDS[4]}\trefs/tags/v1
{IDS[5]}\trefs/tags/v1^{{}}
{IDS[6]}\trefs/pull/1/head
{IDS[7]}\trefs/tags/a/b
"""


@pytest.mark.parametrize(
    ("ref", "name", "at", "commit"),
    [
        ("", "refs/heads/main", 0, 0),
        ("HEAD", "refs/heads/main", 0, 0),
        ("main", "refs/heads/main", 0, 0),
        ("heads/main", "refs/heads/main", 0, 0),
        ("both", "refs/heads/both", 1, 1),
        ("tags/both", "refs/tags/both", 3, 3),
        ("refs/tags/both", "refs/tags/both", 3, 3),
        ("a/b", "refs/heads/a/b", 2, 2),
        ("v1", "refs/tags/v1", 4, 5),
        ("pull/1/head", "refs/pull/1/head", 6, 6),
    ],
)
def test_what_a_name_means(ref, name, at, commit):
    found = Refs.parse(LISTED).find(ref)
    assert (found.ref, found.object, found.commit) == (name, IDS[at], IDS[commit])


@pytest.mark.parametrize(("digits", "at"), [("000", 0), ("5555", 5), ("6", 6), (IDS[7], 7)])
def test_a_commit_by_some_of_its_digits(digits, at):
    found = Refs.parse(LISTED).find(digits, digits=True)
    assert (found.ref, found.object, found.commit) == ("", IDS[at], IDS[at])


def test_digits_that_are_a_name_or_of_several_commits_or_of_none():
    refs = Refs.parse(
        f"{IDS[1]}\trefs/heads/222\n{IDS[2]}\trefs/heads/b\n{'2' * 39}1\trefs/tags/c\n"
    )
    assert refs.find("222", digits=True).ref == "refs/heads/222"
    with pytest.raises(BuildError, match=r"several commits begin with 2222: 2{39}1, 2{40}"):
        refs.find("2222", digits=True)
    for missing in ("3", "4" * 8):
        with pytest.raises(BuildError, match=f"repository does not contain ref {missing}"):
            refs.find(missing, digits=True)


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("mian", "did you mean main?"),
        ("refs/heads/boht", "did you mean both?"),
        ("zzzzzzzz", "name a branch or a tag; it has main, both, a/b, both, v1, a/b"),
        ("5555555", "name a commit by all of its 40 digits; it has main"),
        ("v2", "did you mean v1?"),
    ],
)
def test_a_missing_ref_has_names_that_are_there(ref, hint):
    with pytest.raises(BuildError) as caught:
        Refs.parse(LISTED).find(ref)
    assert caught.value.message.startswith("repository does not contain ref ")
    assert caught.value.hint.startswith(hint)


def test_a_server_of_plain_files_does_not_name_the_default_branch():
    listed = f"{IDS[0]}\tHEAD\n{IDS[1]}\trefs/heads/a\n{IDS[0]}\trefs/heads/main\n"
    assert Refs.parse(listed).find("").ref == "refs/heads/main"
    alone = Refs.parse(f"{IDS[0]}\tHEAD\n{IDS[1]}\trefs/heads/a\n").find("")
    assert (alone.ref, alone.object) == ("HEAD", IDS[0])


@pytest.mark.parametrize(
    ("listed", "hint"),
    [("", "the repository is empty"), (f"{IDS[1]}\trefs/heads/a\n", "add a branch")],
)
def test_there_is_no_default_branch(listed, hint):
    with pytest.raises(BuildError, match="has no default branch") as caught:
        Refs.parse(listed).find("")
    assert caught.value.hint.startswith(hint)


def test_what_is_no_id_is_refused():
    with pytest.raises(BuildError, match="invalid commit sha"):
        Refs.parse("--upload-pack=x\trefs/heads/a\n").find("a")


def test_of_many_names_a_few_are_shown():
    listed = "".join(f"{IDS[0]}\trefs/heads/branch-{number:02}\n" for number in range(30))
    with pytest.raises(BuildError) as caught:
        Refs.parse(listed).find("something-else")
    assert caught.value.hint.endswith("branch-09 and 20 more")
