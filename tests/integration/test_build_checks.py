"""The build checks on the command line: what is printed where, exit codes, nothing left behind."""

from __future__ import annotations

import base64
import json

import pytest

FAULTY = "FROM scratch\nENV a b\nCOPY <<E /f\nx\nE\nLABEL c=$NONE d=e\n"
FOUND = """\
 2 warnings found (use --debug to expand):
 - LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format (Dockerfile:2)
 - UndefinedVar: Usage of undefined variable '$NONE' (Dockerfile:6)
"""  # noqa: E501


@pytest.fixture
def context(tmp_path):
    """A directory with a Dockerfile."""
    (tmp_path / "context").mkdir()
    return tmp_path / "context"


@pytest.fixture
def build(run_cli, store_root, context):
    """Run ``build`` with a Dockerfile; there is no store yet."""

    def run(text, *words, before=()):
        (context / "Dockerfile").write_text(text)
        return run_cli(*before, "build", *words, ".", root=store_root, cwd=context)

    return run


def test_a_build_lists_what_the_checks_found_at_its_end(build):
    done = build(FAULTY).ok()
    assert (
        done.stderr.startswith("#1 ")
        and done.stderr.endswith(f"s\n\n{FOUND}")
        and "Image sha256:" in done.stdout
    )
    again = build(FAULTY).ok()
    assert again.stderr.endswith(f"#1 CACHED\n\n{FOUND}") and "cached" in again.stdout
    assert build(FAULTY, "-q").ok().stderr == ""  # as buildx
    full = build(FAULTY, before=("--debug",)).ok().stderr
    assert " 2 warnings found:\n - LegacyKeyValueFormat: " in full
    assert (
        "Variables should be defined before their use\n"
        "More info: https://docs.docker.com/go/dockerfile/rule/undefined-var/\n"
        "   6 | >>> LABEL c=$NONE d=e\n" in full
    )
    assert "warnings found" not in build(f"# check=skip=all\n{FAULTY}").ok().stderr


def test_events_of_checks(build):
    lines = build(FAULTY, "--progress", "json").ok().stderr.splitlines()
    events = [json.loads(line) for line in lines]
    first, second = [each for each in events if each["type"] == "check_warning"]
    assert (first["rule"], second["line"]) == ("LegacyKeyValueFormat", 6)
    assert second["excerpt"] == ["LABEL c=$NONE d=e"] and second["file"] == "Dockerfile"


def test_warnings_as_errors_fail_before_the_first_step(build, run_cli, store_root):
    done = build(f"# check=error=true\n{FAULTY}", "-t", "x:1")
    assert done.code == 1 and "#1" not in done.stderr and done.stdout == ""
    names = "LegacyKeyValueFormat, UndefinedVar"
    assert " 2 warnings found (use --debug to expand):\n" in done.stderr
    assert done.stderr.endswith(
        f"Error: Dockerfile:3: lint violation found for rules: {names}\n"
        "   3 | >>> ENV a b\n"
        "hint: change these lines, or write # check=skip=RULE at the top of the file\n"
    )
    assert run_cli("images", "-q", root=store_root).ok().stdout == ""
    assert build(FAULTY, "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=error=true").code == 1


@pytest.mark.parametrize(
    ("words", "text", "code", "stdout", "stderr"),
    [
        (("--check",), "FROM scratch\n", 0, "Check complete, no warnings found.\n", ""),
        (("--check",), FAULTY, 1, "Check complete, 2 warnings have been found!\n\nWARNING: ", ""),
        (("--call=lint,ignorestatus=true",), FAULTY, 0, "Check complete, 2 warnings", ""),
        (("--check", "--call=check,error=true"), FAULTY, 1, "Check complete, 2 warnings",
         "Error: Dockerfile:2: lint violation found for rules: LegacyKeyValueFormat, UndefinedVar"),
        (("--check",), "FROM scratch\nCPOY a b\n", 1, "",
         "Error: Dockerfile:2: unknown instruction: CPOY (did you mean COPY?)\n"),
        (("--check", "--target=x"), "FROM scratch\n", 1, "",
         'Error: target stage "x" could not be found'),
        (("--check=false", "--call=targets"), "FROM a AS b\n", 0,
         "TARGET      DESCRIPTION\nb (default)\n", ""),
        (("--call", "outline", "--build-arg", "A=2"), "FROM scratch\nARG A\n", 0,
         "BUILD ARG   VALUE   DESCRIPTION\nA           2\n\n", ""),
    ],
)  # fmt: skip
def test_what_a_call_prints(build, store_root, words, text, code, stdout, stderr):
    done = build(text, *words, "-t", "x:1", "--iidfile", "id")
    assert done.code == code, done.stderr
    assert done.stdout.startswith(stdout) and bool(done.stdout) == bool(stdout)
    assert done.stderr.startswith(stderr) and bool(done.stderr) == bool(stderr)
    assert list(store_root.iterdir()) == []  # nothing was written


@pytest.mark.parametrize(
    ("value", "found"), [("1", True), ("true", True), ("0", False), ("x", False)]
)
def test_the_metadata_has_warnings_if_the_environment_asks_for_them(
    build, context, monkeypatch, value, found
):
    monkeypatch.setenv("BUILDX_METADATA_WARNINGS", value)
    build(FAULTY, "--metadata-file", "metadata.json").ok()
    warnings = json.loads((context / "metadata.json").read_text()).get("buildx.build.warnings")
    if not found:
        assert warnings is None
        return
    legacy, unset = warnings
    assert legacy["level"] == 1 and legacy["url"].endswith("/legacy-key-value-format/")
    assert legacy["sourceInfo"]["filename"] == "Dockerfile"
    assert legacy["range"] == [{"start": {"line": 2}, "end": {"line": 2}}]
    assert base64.b64decode(unset["short"]).decode() == (
        "UndefinedVar: Usage of undefined variable '$NONE' (line 6)"
    )
    build("FROM scratch\nENV a=b\n", "--metadata-file", "metadata.json").ok()
    assert "buildx.build.warnings" not in json.loads((context / "metadata.json").read_text())


def test_the_json_of_a_call(build, context):
    document = json.loads(build(FAULTY, "--call=check,format=json").stdout)
    assert [each["ruleName"] for each in document["warnings"]] == [
        "LegacyKeyValueFormat", "UndefinedVar",
    ]  # fmt: skip
    words = ("--check", "--call=build,format=json", "--metadata-file", "metadata.json")
    done = build("FROM scratch\nNONSENSE\n", *words)
    metadata = json.loads((context / "metadata.json").read_text())
    assert metadata == {"result.json": json.loads(done.stdout)}
    message = "dockerfile parse error on line 2: unknown instruction: NONSENSE"
    assert json.loads(done.stdout)["buildError"]["message"] == message
    assert done.code == 1 and "unknown instruction: NONSENSE" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--call=lnit",), "invalid --call 'lnit': expected one method of build, check, outline"),
        (("--call=check,outline",), "expected one method"),
        (("--call=check,format=xml",), "'format=xml' is not supported"),
        (("--call=check,ignorestatus=maybe",), "maybe"),
        (("--call=outline,error=true",), "error=true is only for the method check"),
        (("--check", "--call=outline"), "--check cannot be combined with --call=outline"),
    ],
)
def test_invalid_calls_are_wrong_usage(build, words, message):
    done = build("FROM scratch\n", *words)
    assert done.code == 2 and message in done.stderr and done.stdout == ""


def test_an_image_is_looked_up_in_the_store_and_nothing_is_written(build, store_root):
    build("FROM scratch\nENV KNOWN=1\n", "-t", "base:1").ok()
    names = {path: path.lstat().st_mtime_ns for path in store_root.rglob("*")}
    done = build("FROM base:1\nLABEL a=$KNOWN b=$KNOWM\n", "--check", "--pull=never")
    assert "'$KNOWM' (did you mean $KNOWN?)" in done.stdout and done.code == 1
    assert {path: path.lstat().st_mtime_ns for path in store_root.rglob("*")} == names
