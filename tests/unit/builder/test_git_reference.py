"""References to git repositories: what they say, and what is malformed in them."""

from __future__ import annotations

import pytest

from ocitool.builder.definition import GitTree
from ocitool.builder.dockerfile.values import source_kind
from ocitool.builder.git.reference import (
    is_context,
    parse_git,
    shown_git,
    split_credentials,
)
from ocitool.errors import FormatError

URL = "https://h/r.git"
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (URL, {}),
        (f"{URL}#", {}),
        (f"{URL}#v1", {"ref": "v1"}),
        (f"{URL}#a/b:c/d", {"ref": "a/b", "subdir": "c/d"}),
        (f"{URL}#:c", {"subdir": "c"}),
        (f"{URL}#v1:/c/", {"ref": "v1", "subdir": "c"}),
        (f"{URL}#v1:a/../c", {"ref": "v1", "subdir": "c"}),
        (f"{URL}#v1:.", {"ref": "v1"}),
        (f"{URL}#v%2B1", {"ref": "v+1"}),
        (f"{URL}#{SHA}", {"ref": SHA}),
        (f"{URL}?ref=pull/1/head", {"ref": "pull/1/head"}),
        (f"{URL}?tag=v1", {"ref": "refs/tags/v1"}),
        (f"{URL}?tag=refs/tags/v1", {"ref": "refs/tags/v1"}),
        (f"{URL}?branch=a/b&subdir=c", {"ref": "refs/heads/a/b", "subdir": "c"}),
        (f"{URL}?ref=v1&subdir=c#v1:c", {"ref": "v1", "subdir": "c"}),
        (f"{URL}?checksum=0aB", {"ref": "0ab", "checksum": "0ab"}),
        (f"{URL}?commit={SHA}#v1", {"ref": "v1", "checksum": SHA}),
        (f"{URL}?keep-git-dir", {"keep_git_dir": True}),
        (f"{URL}?keep-git-dir=true&submodules=0", {"keep_git_dir": True, "submodules": False}),
        (f"{URL}?mtime=commit", {"commit_time": True}),
        (f"{URL}?mtime=checkout&submodules", {}),
        (
            f"{URL}?branch=b&checksum={SHA}&fetch-by-commit=true",
            {"ref": "refs/heads/b", "checksum": SHA, "by_commit": True},
        ),
    ],
)
def test_what_a_reference_says(text, fields):
    assert parse_git(text).tree == GitTree(remote=URL, **fields)


@pytest.mark.parametrize(
    ("text", "remote", "ref"),
    [
        ("git@h:a/b.git#v1", "git@h:a/b.git", "v1"),
        ("git@h.example:a?branch=b", "git@h.example:a", "refs/heads/b"),
        ("ssh://git@h:22/a#v1", "ssh://git@h:22/a", "v1"),
        ("git://h/a#v1", "git://h/a", "v1"),
        ("HTTP://h:80/a.git", "HTTP://h:80/a.git", ""),
        ("http://ann:pw@[::1]:80/a.git#v1", "http://ann:pw@[::1]:80/a.git", "v1"),
    ],
)
def test_the_repository_of_a_reference(text, remote, ref):
    assert source_kind(text) == "git"
    tree = parse_git(text).tree
    assert (tree.remote, tree.ref) == (remote, ref)


def test_github_needs_no_scheme_where_a_build_context_is_meant():
    assert source_kind("github.com/a/b") == "path" and is_context("github.com/a/b#v1")
    assert parse_git("github.com/a/b#v1:c").tree == GitTree(
        remote="https://github.com/a/b", ref="v1", subdir="c"
    )


@pytest.mark.parametrize(
    "text",
    ["https://h/r", "https://h/r.git/", "https://h/r.git/x", "file:///r.git", "ext::x", "a.b@h:r"],
)
def test_is_no_git_repository(text):
    """As in BuildKit: http and https need .git at the end of the path."""
    assert source_kind(text) != "git" and not is_context(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{URL}?ref=a#b", 'ref conflicts: "b" vs "a"'),
        (f"{URL}?tag=a#a", 'ref conflicts: "a" vs "refs/tags/a"'),
        (f"{URL}?branch=a&ref=b", 'ref conflicts: "b" vs "refs/heads/a"'),
        (f"{URL}?branch=a&tag=a", "branch conflicts with tag"),
        (f"{URL}?subdir=a#:b", 'subdir conflicts: "b" vs "a"'),
        (f"{URL}?checksum=a&commit=b", 'checksum conflicts: "b" vs "a"'),
        (f"{URL}?ref=a&ref=a", 'query "ref" has multiple values'),
        (f"{URL}?ref=", 'query "ref" has no value'),
        (f"{URL}?subdirr=a", 'unexpected query "subdirr"'),
        (f"{URL}?keep-git-dir=yes", 'invalid keep-git-dir value: "yes"'),
        (f"{URL}?submodules=no", 'invalid submodules value: "no"'),
        (f"{URL}?mtime=now", 'invalid mtime value: "now"'),
        (f"{URL}?checksum=xyz", "invalid checksum xyz for Git URL, expected hex commit hash"),
        (f"{URL}?checksum=abc&fetch-by-commit", "fetch-by-commit requires a full commit checksum"),
        (f"{URL}#--upload-pack=x", 'invalid ref "--upload-pack=x" of a git repository'),
        (f"{URL}#a b", 'invalid ref "a b" of a git repository'),
        (f"{URL}#v1^{{}}", 'invalid ref "v1^{}" of a git repository'),
        (f"{URL}#v1:../x", 'subdir "../x" leads out of the repository'),
        (f"{URL}?subdir=/../x", 'subdir "/../x" leads out of the repository'),
        ("https://-x/r.git", "invalid URL of a git repository"),
        ("https:///r.git", "invalid URL of a git repository"),
        ("https://h:x/r.git", "invalid URL of a git repository"),
        ("https://[::1/r.git", "invalid URL of a git repository"),
        ("https://h/a b.git", "invalid URL of a git repository"),
        ("https://h/a\n.git", "invalid URL of a git repository"),
        ("-oProxyCommand@h:r", "invalid URL of a git repository"),
        ("git@-h:r", "invalid URL of a git repository"),
        ("ssh://-oProxyCommand=x/r", "invalid URL of a git repository"),
        ("ssh://git:pw@h/r", "a password in the URL has no effect with ssh://"),
    ],
)
def test_is_malformed(text, message):
    with pytest.raises(FormatError) as caught:
        parse_git(text)
    assert caught.value.message == message


def test_a_misspelled_key_is_corrected():
    with pytest.raises(FormatError) as caught:
        parse_git(f"{URL}?subdirr=a")
    assert caught.value.hint == "did you mean subdir?"


@pytest.mark.parametrize(
    ("query", "keep", "checksum", "message"),
    [
        ("?keep-git-dir=false", True, "", "inconsistent keep-git-dir configuration"),
        ("?checksum=ab", None, "abc", 'checksum mismatch "abc" != "ab"'),
        ("", None, "sha256:ab", "invalid checksum sha256:ab for Git URL"),
    ],
)
def test_flags_that_contradict_the_reference(query, keep, checksum, message):
    with pytest.raises(FormatError) as caught:
        parse_git(URL + query).with_flags(keep_git_dir=keep, checksum=checksum)
    assert caught.value.message.startswith(message)


def test_flags_say_what_the_reference_does_not():
    tree = parse_git(f"{URL}#v1").with_flags(keep_git_dir=True, checksum="AB")
    assert tree == GitTree(remote=URL, ref="v1", checksum="ab", keep_git_dir=True)
    kept = parse_git(f"{URL}?keep-git-dir").with_flags(keep_git_dir=None, checksum="")
    assert kept.keep_git_dir


@pytest.mark.parametrize(
    ("remote", "plain", "user"),
    [
        (URL, URL, ""),
        ("https://ann:p%40w@h:1/r.git", "https://h:1/r.git", "ann:p@w"),
        ("HTTPS://token@h/r.git", "https://h/r.git", "token:"),
        ("ssh://git@h/r", "ssh://git@h/r", ""),
        ("git@h:r", "git@h:r", ""),
    ],
)
def test_credentials_of_a_url(remote, plain, user):
    assert split_credentials(remote) == (plain, user)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{URL}#v1", f"{URL}#v1"),
        ("https://ann:pw@h/r.git?ref=a@b#a@b", "https://xxxxx:xxxxx@h/r.git?ref=a@b#a@b"),
        ("ssh://git@h/r#v1", "ssh://git@h/r#v1"),
        ("ssh://git:pw@h/r#v1", "ssh://xxxxx:xxxxx@h/r#v1"),
        ("https://ann:pw@[::1/r.git", "https://xxxxx:xxxxx@[::1/r.git"),
        ("git@h:r#v1", "git@h:r#v1"),
    ],
)
def test_what_is_shown_of_a_reference(text, shown):
    assert shown_git(text) == shown
