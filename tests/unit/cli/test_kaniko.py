"""From a call of kaniko's executor to one of `ocitool build`."""

from __future__ import annotations

from typing import Any

import click
import pytest

from ocitool.cli.app import App
from ocitool.cli.kaniko.words import build_words
from ocitool.cli.main import cli


def parsed(*words: str) -> dict[str, Any]:
    parent = click.Context(cli, obj=App(root=None, driver=None, debug=False))
    name, command, rest = cli.resolve_command(parent, ["kaniko-executor", *words])
    assert command is not None
    return command.make_context(name, rest, parent=parent).params


def translated(*words: str, **environ: str) -> list[str]:
    """The words of `ocitool build`, except the usual ones."""
    found = build_words(parsed(*words), environ)
    for usual in ("--no-cache", "--progress=plain"):
        if usual in found:
            found.remove(usual)
    return found


D = ("-d", "example.com/a:1")
TAG = ["--tag", "example.com/a:1", "--push"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (D, ["--file", "/workspace/Dockerfile", *TAG, "--", "/workspace/"]),
        (("--no-push", "-c", "/c"), ["--file", "/c/Dockerfile", "--", "/c"]),
        (("--no-push=false", "-c", "/c", *D), ["--file", "/c/Dockerfile", *TAG, "--", "/c"]),
        (
            ("--no-push", "--context=dir:///c", "--context-sub-path=d/e", "-f", "F"),
            ["--file", "/c/d/e/F", "--", "/c/d/e"],
        ),
        (("--no-push", "-c", "tar:///t.tgz"), ["--file", "Dockerfile", "--", "/t.tgz"]),
        (("--no-push", "-c", "tar://stdin"), ["--file", "Dockerfile", "--", "-"]),
        (
            ("--no-push", "-c", "https://example.com/t.tgz"),
            ["--file", "Dockerfile", "--", "https://example.com/t.tgz"],
        ),
        (
            ("--no-push", "-c", "git://example.com/a.git"),
            ["--file", "Dockerfile", "--", "https://example.com/a.git?submodules=false"],
        ),
        (
            ("--no-push", "-c", "git://example.com/a.git#refs/heads/x#c0ffee"),
            ["--file", "Dockerfile", "--", "https://example.com/a.git?submodules=false#c0ffee"],
        ),
        (
            ("--no-push", "-c", "git://h/a.git", "--git=branch=b", "--context-sub-path=d"),
            ["--file", "Dockerfile", "--", "https://h/a.git?submodules=false#b:d"],
        ),
        (
            ("--no-push", "-c", "git://h/a#refs/heads/x", "--git=branch=b,recurse-submodules"),
            ["--file", "Dockerfile", "--", "https://h/a.git#b"],
        ),
        (
            ("--no-push", "-c", "git://h/a#x#c0", "--git", "recurse-submodules=true,branch=b"),
            ["--file", "Dockerfile", "--", "https://h/a.git#c0"],
        ),
        (
            ("--no-push", "-c", "git://h/a", "--git=branch=b", "--git=recurse-submodules=true"),
            ["--file", "Dockerfile", "--", "https://h/a.git#b"],
        ),
        (
            ("--no-push", "-c", "git://h/a", "--git=recurse-submodules=false,single-branch=true"),
            ["--file", "Dockerfile", "--", "https://h/a.git?submodules=false"],
        ),
        (
            ("--no-push", "-c", "/c", "--cache=true"),
            ["--file", "/c/Dockerfile", "--cache-ttl", "336h", "--", "/c"],
        ),
        (
            ("--no-push", *D, "-c", "/c", "--tarPath=a,b", "--oci-layout-path", "o"),
            [
                "--file", "/c/Dockerfile", "--tag", "example.com/a:1",
                "--output", 'type=docker,"dest=a,b"', "--output", "type=oci,tar=false,dest=o",
                "--", "/c",
            ],
        ),
        (
            (*D, "-d", "example.com/b", "-c", "/c", "--insecure", "--skip-tls-verify-registry=r:1"),
            [
                "--file", "/c/Dockerfile", "--tag", "example.com/a:1", "--tag", "example.com/b",
                "--push", "--insecure-registry", "example.com", "--insecure-registry", "r:1",
                "--", "/c",
            ],
        ),
        (
            ("--no-push", "-c", "/c", "--single-snapshot", "--reproducible", "--compression=zstd",
             "--compression-level=3", "--customPlatform=linux/arm64", "--target", "t"),
            [
                "--file", "/c/Dockerfile", "--target", "t", "--platform", "linux/arm64",
                "--compression-format", "zstd", "--compression-level", "3", "--squash",
                "--timestamp=0", "--", "/c",
            ],
        ),
        (
            ("--no-push", "-c", "/c", "--ignore-path=/x", "--ignore-var-run=true"),
            ["--file", "/c/Dockerfile", "--ignore-path", "/x", "--ignore-path", "/var/run",
             "--", "/c"],
        ),
        (
            ("--no-push", "-c", "/c", "--target=", "--registry-mirror", "", "--context-sub-path",
             "", "--git=", "--label=", "--insecure-registry=", "--cache-repo="),
            ["--file", "/c/Dockerfile", "--", "/c"],
        ),
        (
            ("--no-push", "-c", "/c", "--push-retry=2", "--image-download-retry", "5",
             "--insecure-pull", "--skip-default-registry-fallback"),
            [
                "--file", "/c/Dockerfile", "--insecure-pull", "--skip-default-registry-fallback",
                "--retry", "5", "--", "/c",
            ],
        ),
        (
            ("--no-push", "-c", "/c", "--build-arg", "A=1", "--build-arg=B", "--label=c=d",
             "--registry-map=a=b"),
            [
                "--file", "/c/Dockerfile", "--build-arg", "A=1", "--build-arg", "B",
                "--label", "c=d", "--registry-map", "a=b", "--", "/c",
            ],
        ),
    ],
)  # fmt: skip
def test_calls(words, expected):
    assert translated(*words) == expected
    assert translated("", *words, "") == expected  # parameters of a task that are not set


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-v", "debug"), ["--progress=plain", "--debug"]),
        (("--verbosity=error", "--log-format=json"), ["--progress=none"]),
        (("--verbosity=warn",), ["--progress=quiet"]),
        (("--log-format=json",), ["--progress=json"]),
        (("--log-format=text", "--log-timestamp"), ["--progress=plain"]),
    ],
)
def test_what_is_shown(words, expected):
    found = build_words(parsed("--no-push", *words), {})
    assert [word for word in found if word.startswith(("--progress", "--debug"))] == expected


def test_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("KANIKO_NO_PUSH", "true")
    environ = {
        "KANIKO_REGISTRY_MIRROR": "m.example.com",
        "KANIKO_REGISTRY_MAP": "a=b.example.com",
        "KANIKO_DIR": str(tmp_path),
        "GIT_PULL_METHOD": "http",
    }
    assert translated("-c", "git://h/a", **environ) == [
        "--file", "Dockerfile", "--registry-mirror", "m.example.com",
        "--registry-map", "a=b.example.com", "--", "http://h/a.git?submodules=false",
    ]  # fmt: skip


def test_an_unknown_method_of_git_is_https():
    assert translated("--no-push", "-c", "git://h/a", GIT_PULL_METHOD="ssh")[-1][:8] == "https://"


@pytest.mark.parametrize(
    ("environ", "pair"),
    [
        ({"GIT_USERNAME": "ann", "GIT_PASSWORD": "s3cret"}, "YW5uOnMzY3JldA=="),
        ({"GIT_PASSWORD": "s3cret"}, "OnMzY3JldA=="),
        ({"GIT_TOKEN": "s3cret"}, "czNjcmV0Og=="),  # the user, as kaniko sends it
        ({"GIT_TOKEN": "s3cret", "GIT_USERNAME": "ann", "GIT_PASSWORD": "p"}, "czNjcmV0Og=="),
    ],
)
def test_credentials_of_git_are_in_no_word(environ, pair):
    words = build_words(parsed("--no-push", "-c", "git://h/a"), environ)
    assert words[2:4] == ["--secret", "id=GIT_AUTH_HEADER,env=GIT_AUTH_HEADER"]
    assert environ["GIT_AUTH_HEADER"] == f"Basic {pair}"
    assert "s3cret" not in "".join(words)


def test_credentials_of_a_directory_that_is_given_count(tmp_path):
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text("{}")
    words = ("--no-push", "-c", "/c", "--kaniko-dir", str(tmp_path))
    found = translated(*words)
    assert found[2:4] == ["--authfile", f"{tmp_path}/.docker/config.json"]
    for other in ({"DOCKER_CONFIG": "/other"}, {"REGISTRY_AUTH_FILE": "/other"}):
        assert translated(*words, **other) == found
        assert translated(*words[:3], KANIKO_DIR=str(tmp_path), **other) == found


def test_those_of_the_usual_directory_count_without_others(tmp_path, monkeypatch):
    monkeypatch.setattr("ocitool.cli.kaniko.words._DIRECTORY", str(tmp_path))
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text("{}")
    assert "--authfile" in translated("--no-push", "-c", "/c")
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE"):
        assert "--authfile" not in translated("--no-push", "-c", "/c", **{name: "/other"})


def test_kanikos_certificates_are_those_of_further_cas(tmp_path):
    words = ("--no-push", "-c", "/c", "--kaniko-dir", str(tmp_path))
    assert "--cert-dir" not in translated(*words)
    (tmp_path / "ssl/certs").mkdir(parents=True)
    assert "--cert-dir" not in translated(*words)
    (tmp_path / "ssl/certs/additional.crt").touch()
    assert translated(*words)[2:4] == ["--cert-dir", f"{tmp_path}/ssl/certs"]


def test_a_dockerfile_that_is_here_comes_before_that_of_the_context(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert translated("--no-push", "-c", "/c")[1] == "/c/Dockerfile"
    (tmp_path / "Dockerfile").touch()
    assert translated("--no-push", "-c", "/c")[1] == "Dockerfile"


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        ((), {}, "you must provide --destination, or use --no-push"),
        (("--no-push", "--tar-path=x"), {}, "--tar-path requires --destination"),
        ((*D, "-c", "s3://bucket/a.tgz"), {}, "--context s3://bucket/a.tgz is not supported"),
        ((*D, "-c", "gs://bucket/a.tgz"), {}, "--context gs://bucket/a.tgz is not supported"),
        ((*D, "-c", "ftp://x"), {}, "unknown build context 'ftp://x'"),
        (
            (*D, "-c", "tar://x", "--context-sub-path=a"),
            {},
            "--context-sub-path is only supported for",
        ),
        ((*D, "--git", "depth=1"), {}, "--git depth=1 is not supported"),
        ((*D, "--git", "recurse-submodules=x"), {}, "'x' for --git recurse-submodules"),
        ((*D, "--git", "insecure-skip-tls=true"), {}, "--git insecure-skip-tls=true is not supp"),
        ((*D, "--cache-run-layers=false"), {}, "--cache-run-layers=false is not supported"),
        ((*D, "--no-push=maybe"), {}, "invalid argument 'maybe' for --no-push"),
        ((*D, "--snapshot-mode=fast"), {}, "'fast' is not one of 'full', 'redo', 'time'"),
    ],
)
def test_what_is_refused(words, environ, said):
    with pytest.raises(click.UsageError) as caught:
        translated(*words, **environ)
    assert said in caught.value.format_message()


def test_the_usage_of_an_error_is_that_of_the_command_that_was_called(tmp_path, monkeypatch):
    monkeypatch.setenv("OCITOOL_ROOT", str(tmp_path / "store"))
    words = ["kaniko-executor", "-c", str(tmp_path), "--no-push", "--label", "=b"]
    with pytest.raises(click.UsageError) as caught:
        cli.main(words, standalone_mode=False)
    assert caught.value.ctx is not None
    assert caught.value.ctx.command_path.endswith("kaniko-executor")
