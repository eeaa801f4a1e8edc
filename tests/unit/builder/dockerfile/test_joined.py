"""Several files that are read as one Dockerfile: errors have the file and the line."""

from __future__ import annotations

import pytest

from ocitool.builder.dockerfile.parser import parse_files
from ocitool.errors import DockerfileError


def test_the_lines_of_all_files_follow_each_other():
    file = parse_files(
        [("a", b"ARG X\nFROM one\nENV a=1"), ("b", b"# comment\nENV b=2\nFROM two\n")]
    )
    assert [stage.from_.image for stage in file.stages] == ["one", "two"]
    spans = [each.span for each in file.stages[0].instructions]
    assert [(str(span), span.text, span.lines) for span in spans] == [
        ("a:3", "ENV a=1", ("ENV a=1",)),
        ("b:2", "ENV b=2", ("ENV b=2",)),
    ]
    assert file.name == "a"


@pytest.mark.parametrize(
    ("second", "line", "message"),
    [
        (b"\nENV b=2\nNONSENSE", 3, "unknown instruction"),
        (b"RUN <<EOF\nx\n", 1, "unterminated heredoc"),
        (b"# escape=`\nENV b=2", 1, "the escape character differs from that of a"),
        (b"ENV b", 1, "ENV must have two arguments"),
    ],
)
def test_an_error_has_the_file_and_the_line(second, line, message):
    with pytest.raises(DockerfileError, match=message) as caught:
        parse_files([("a", b"FROM scratch\nENV a=1\n"), ("b", second)])
    assert caught.value.where == f"b:{line}"
    assert caught.value.excerpt == (second.decode().splitlines()[line - 1],)


def test_so_does_a_warning():
    (warning,) = parse_files([("a", b"FROM scratch\n"), ("b", b"ARG $X=1\n")]).warnings
    assert warning.startswith("b:1: no instruction can refer to")


def test_the_same_escape_character_in_each_file_is_fine():
    text = b"# escape=`\nFROM scratch\nENV a=1 `\n  b=2"
    file = parse_files([("a", text), ("b", b"# escape=`\nENV c=3 `\n  d=4\n")])
    assert [each.span.last for each in file.stages[0].instructions] == [4, 3]


def test_the_first_file_cannot_begin_with_another_instruction():
    with pytest.raises(DockerfileError, match="no build stage") as caught:
        parse_files([("a", b"ARG X\n"), ("b", b"ENV a=1\n")])
    assert caught.value.where == "b:1"
