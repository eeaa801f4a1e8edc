"""Build arguments of the command and of files, in the order in which they count."""

from __future__ import annotations

import json

import pytest

NAMES = ("A", "B", "C", "D", "E", "F")
TEXT = "FROM scratch\n" + "".join(f"ARG {name}=unset\nENV {name}=${name}\n" for name in NAMES)


@pytest.fixture
def values(run_cli, store_root, tmp_path):
    """Return what the arguments come to, in a build with *words*."""

    def build(*words: str, env: dict[str, str] | None = None) -> dict[str, str]:
        made = ("build", "-q", *words, "-t", "x:1", "-f", "-", ".")
        run_cli(*made, root=store_root, cwd=tmp_path, stdin=TEXT, env=env).ok()
        shown = run_cli("inspect", "-f", "{{json .Config.Env}}", "x:1", root=store_root).ok()
        pairs = dict(each.split("=", 1) for each in json.loads(shown.stdout))
        return {name: pairs[name] for name in NAMES if pairs[name] != "unset"}

    return build


def test_the_lines_of_a_file(values, tmp_path):
    lines = 'A=1\n# B=2\n\n  \nB=two  words \nC="q=r"\r\nD\nE\nF='
    (tmp_path / "args").write_bytes(lines.encode())
    found = values("--build-arg-file", "args", env={"D": "of the environment"})
    wanted = {"A": "1", "B": "two  words ", "C": '"q=r"', "D": "of the environment", "F": ""}
    assert found == wanted


def test_later_files_and_the_commands_own_arguments_count(values, tmp_path):
    (tmp_path / "one").write_text("A=1\nB=1\nC=1\nD=1\n")
    (tmp_path / "two").write_text("B=2\nC=2\nC=3\n")
    files = ("--build-arg-file=one", "--build-arg-file", "two")
    assert values(*files) == {"A": "1", "B": "2", "C": "3", "D": "1"}
    # A name that nothing gives a value takes back the one before.
    words = ("--build-arg=A=word", *files, "--build-arg", "D")
    assert values(*words) == {"A": "word", "B": "2", "C": "3"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "failed to read build arguments: open args: No such file or directory"),
        ("A=1\n=2\n", "args:2: invalid build argument '=2'"),
    ],
)
def test_a_file_that_cannot_be_followed(run_cli, store_root, tmp_path, content, said):
    if content is not None:
        (tmp_path / "args").write_text(content)
    (tmp_path / "id").write_text("sha256:old")
    words = ("build", "--build-arg-file", "args", "--iidfile", "id", "-f", "-", ".")
    done = run_cli(*words, root=store_root, cwd=tmp_path, stdin=TEXT)
    assert not (tmp_path / "id").exists()
    assert (done.code, said in done.stderr, "hint: " in done.stderr) == (1, True, True), str(done)


def test_a_directory_and_a_device_are_no_files_of_arguments(run_cli, store_root, tmp_path):
    for path, said in ((".", "Is a directory"), ("/dev/zero", "expected a regular file, got a")):
        words = ("build", "--build-arg-file", path, "-f", "-", ".")
        done = run_cli(*words, root=store_root, cwd=tmp_path, stdin=TEXT)
        assert (done.code, said in done.stderr) == (1, True), str(done)
