"""Dockerfiles and ignore files that once took exponential or quadratic time, or all memory."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

import pytest

from ocitool import BuildOptions, check
from ocitool.builder.checks.linter import MOST_WARNINGS
from ocitool.builder.dockerfile.parser import parse
from ocitool.errors import BuildError, DockerfileError, FormatError, OcitoolError
from tests.fixtures.deadlines import within
from tests.unit.builder.conftest import scratch

LONG = "a" * 40
CIRCLE = {"x/f": "1", "x/a": {"link": "."}, "x/b": {"link": "/x"}, "x/c": {"link": "../x"}}


def test_stars_in_an_ignore_file_and_in_a_source(project):
    project.put({LONG: "1", "d/f": "2", ".dockerignore": f"{'*a' * 60}b\n{'a**' * 60}b\n"})
    with within(10):
        tree = project.build(scratch(f"COPY {'*a' * 60}b d/f /x/", "COPY *a*a*a* /y/")).tree
    assert sorted(tree) == ["x", "x/f", "y", f"y/{LONG}"]


@pytest.mark.parametrize("depth", [1, 40])
def test_a_wildcard_over_links_in_a_circle_ends(project, depth):
    project.put(CIRCLE)
    with within(10):
        tree = project.build(scratch(f"COPY x/{'*/' * depth}f /out/")).tree
    assert sorted(tree) == []  # behind a wildcard no link is a directory


@pytest.mark.slow
def test_a_wildcard_over_links_in_a_circle_of_an_image_ends(project):
    project.image("round:1", CIRCLE)
    with within(10):
        tree = project.build(scratch(f"COPY --from=round:1 /x/{'*/' * 40}f /out/")).tree
    assert sorted(tree) == []  # behind a wildcard no link is a directory


def doubling(word: str, times: int) -> list[str]:
    return [f"{word} A=0123456789", *(f"{word} A=$A$A" for _ in range(times))]


@pytest.mark.parametrize("word", ["ENV", "ARG"])
def test_a_variable_that_doubles_itself_is_stopped_at_its_line(project, word):
    with within(10), pytest.raises(DockerfileError, match="expand to more than 4 MiB") as caught:
        project.build(scratch(*doubling(word, 60)))
    assert 15 < caught.value.line < 25
    assert caught.value.excerpt == (f"{word} A=$A$A",)


def test_a_global_argument_that_doubles_itself_is_stopped_at_its_line(project):
    lines = [*doubling("ARG", 60), "FROM scratch"]
    with within(10), pytest.raises(DockerfileError, match="expand to more than 4 MiB") as caught:
        project.build("\n".join(lines))
    assert 15 < caught.value.line < 25


LAST = [
    "LABEL l=$A$A$A$A$A$A",
    "COPY $A$A$A$A$A$A /x",
    "COPY <<E /x\n$A$A$A$A$A$A\nE",
    "EXPOSE $A$A$A$A$A$A",
    "VOLUME $A$A$A$A$A$A",
    "ENV B=${A//?/$A}",
    "ENV B=${A//0/$A}",
    "ENV B=${A//*/" + r"\$0" * 8 + "}",
    "ENV B=${C:-$A$A$A$A$A$A}",
    'ENV B="$A$A$A$A$A$A"',
]


@pytest.mark.parametrize("last", LAST, ids=range(len(LAST)))
def test_no_instruction_makes_more_of_variables(project, last):
    lines = [*doubling("ENV", 16), last]
    with within(20), pytest.raises(DockerfileError, match="expand to more than 4 MiB") as caught:
        project.build(scratch(*lines))
    assert caught.value.line == len(lines) + 1


@pytest.mark.slow
def test_a_history_that_no_config_can_hold_is_stopped_at_its_line(project):
    lines = [*(f"LABEL a{number}={'x' * 60_000}" for number in range(80)), "LABEL last=1"]
    with (
        within(20),
        pytest.raises(DockerfileError, match="history of the image is larger") as caught,
    ):
        project.build(scratch(*lines))
    assert 60 < caught.value.line < 75


@pytest.mark.slow
def test_a_config_that_is_too_large_is_not_stored(project):
    lines = [f"LABEL a{number}={'x' * 60_000}" for number in range(60)]
    with within(20), pytest.raises(BuildError, match=r"config has \d+ bytes, more than"):
        project.build(scratch(*lines))


@pytest.mark.slow
def test_ports_without_number_are_refused(project):
    with within(20), pytest.raises(DockerfileError, match="too many ports"):
        project.build(scratch(f"EXPOSE {'0-65535 ' * 5000}"))


@pytest.mark.slow
def test_a_long_text_is_read_in_one_go(project):
    lines = "\n".join(["word $none 'quoted' \"$none\" \\$x and/more}"] * 40_000)
    project.put({"f": "1"})
    with within(60):
        tree = project.build(scratch(f"COPY <<E f /d/\n{lines}\nE")).tree
    assert sorted(tree) == ["d", "d/E", "d/f"]
    long = "ENV A=1 \\\n" + "B=$A'x'\\\n" * 100_000
    with within(60), pytest.raises(DockerfileError, match="history of the image is larger"):
        project.build(scratch(long + "C=" + "y" * 60_000 + "\\\n" + ("z" * 60_000 + "\\\n") * 100))


@pytest.mark.slow
def test_hundreds_of_stages_on_each_other(project):
    project.put({"f": "1"})
    stages = ["FROM scratch AS s0", "COPY f /f"]
    stages += [f"FROM s{number} AS s{number + 1}" for number in range(3000)]
    with within(60):
        assert sorted(project.build("\n".join(stages)).tree) == ["f"]


PATTERNS = ["*a" * 60 + "b", "a*" * 60 + "b", "*?" * 60 + "b", "?" * 60 + "b", "a*b", "*a*b"]


@pytest.mark.parametrize("form", ["#", "##", "%", "%%", "/", "//"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_pattern_of_a_substitution_takes_long(project, form, pattern):
    tail = "/x" if form[0] == "/" else ""
    with within(10):
        built = project.build(
            scratch(f"ENV A={'a' * 60_000}", f"ENV B=${{A{form}{pattern}{tail}}}")
        )
    env = dict(entry.split("=", 1) for entry in built.config["Env"])
    assert env["B"] == env["A"]


def test_substitutions_nested_deeply_are_refused(project):
    deep = "${A:-" * 10_000 + "}" * 10_000
    with within(10), pytest.raises(DockerfileError, match="nested more than 64 deep"):
        project.build(scratch(f"ENV B={deep}"))


@pytest.mark.parametrize(
    "line", ["[" * 20_000, '["' + '\\"' * 20_000, "--" + "a" * 60_000, "<<" + "'" * 60_000]
)
@pytest.mark.parametrize("word", ["RUN", "COPY", "ENV", "HEALTHCHECK", "NONE", "FROM"])
def test_no_instruction_takes_long_to_read(word, line):
    with within(10), suppress(FormatError):
        parse(f"FROM scratch\n{word} {line}".encode())


def test_a_directive_with_blanks_takes_no_longer(project):
    with within(10), pytest.raises(DockerfileError, match="the frontend"):
        project.build(f"# syntax=a{' ' * 60_000}b\nFROM scratch\n")


@pytest.mark.slow
@pytest.mark.parametrize("line", ["ENV A{}=1", "ARG A{}=1", "LABEL A{}=1"])
def test_thousands_of_variables_are_no_more_than_their_number(project, line):
    lines = [line.format(number) for number in range(8_000)]
    with within(30):
        built = project.build(scratch(*lines, "ENV PATH=/p A0=2 LAST=3", "USER u", "ENV A0=4"))
    env = built.config["Env"]
    assert env[0] == "PATH=/p" and env[-1] == "LAST=3" and "A0=4" in env
    assert len(env) == (8_002 if line.startswith("ENV") else 3)


@pytest.mark.slow
def test_a_context_of_directories_in_each_other_without_end_is_refused(project):
    fd = os.open(project.top, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    try:
        with pytest.raises(BuildError, match="nested more than 400 deep") as caught:
            project.build(scratch("COPY . /x/"))
        assert caught.value.where.startswith("Dockerfile:2: d/d/d")
        project.put({".dockerignore": "d/d/d\n"})
        assert sorted(project.build(scratch("COPY d /x/")).tree) == ["x", "x/d"]
    finally:  # pytest's own way of removing it recurses
        subprocess.run(["rm", "-rf", project.top / "d"], check=True)


@pytest.mark.slow
def test_warnings_without_end_are_not_collected_without_end(tmp_path):
    known = " ".join(f"A{number:04}=1" for number in range(4000))
    unknown = " ".join(f"x=$B{number:04}" for number in range(4000))
    text = f"FROM scratch\nENV {known}\nLABEL {unknown}\n".encode()
    with within(30):
        warnings = check(BuildOptions(context=str(tmp_path), dockerfile=text)).warnings
    assert len(warnings) == MOST_WARNINGS
    assert "did you mean" in warnings[0].detail and "did you mean" not in warnings[-1].detail


@pytest.mark.parametrize(
    ("line", "target", "message"),
    [
        ("COPY --from=N /f /", "", "invalid stage index N"),
        ("COPY --chown=N f /", "", "invalid user or group ID: N"),
        ("COPY f /", "N", 'target stage "N" could not be found'),
    ],
)
def test_a_number_of_thousands_of_digits_is_refused(project, line, target, message):
    """Python reads no such number."""
    number = "9" * 5000
    project.put({"f": "f"})
    with pytest.raises(OcitoolError) as caught:
        project.build(scratch(line.replace("N", number)), target=target.replace("N", number))
    assert caught.value.message == message.replace("N", number) and caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("number", ["99999999999", "9" * 5000, "-1", "4_0", "", "root"])
def test_an_invalid_id_in_passwd_is_refused(project, number):
    project.put({"f": "f"})
    project.image("base:1", {"etc/passwd": f"web:x:{number}:0::/:\n"})
    with pytest.raises(BuildError, match=r"malformed|invalid user or group ID"):
        project.build("FROM base:1\nCOPY --chown=web f /")


@pytest.mark.parametrize("long", ["n" * 300, "d/" * 300, "é" * 200])
@pytest.mark.parametrize(
    "line",
    ["COPY f /LONG", "COPY f /LONG/", "WORKDIR /LONG", "COPY <<LONG /x/\nhi\nLONG", "COPY d /LONG"],
)
def test_a_path_that_no_layer_can_have_is_refused(project, line, long):
    """Otherwise there was an image that nobody could unpack."""
    project.put({"f": "f", "d/f": "f"})
    with pytest.raises(OcitoolError, match=r"than 25[56] |of that name") as caught:
        project.build(scratch(line.replace("LONG", long)))
    assert str(caught.value).startswith("Dockerfile:2: ")
