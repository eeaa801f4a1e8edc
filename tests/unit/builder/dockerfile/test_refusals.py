"""What a Dockerfile may not say: message, line and excerpt, from a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocitool.builder.dockerfile.parser import parse
from ocitool.errors import DockerfileError
from tests.fixtures.tables import read_table

CASES = read_table(Path(__file__).parents[4] / "testdata/dockerfile/refused.yaml")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [pytest.param(*case, id=case[0]) for cases in CASES.values() for case in cases],
)
def test_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    if not text.upper().startswith(("#", "FROM", "ARG")) or text.upper() in ("ARG", "ARG =A"):
        text = f"FROM a\n{text}"
    with pytest.raises(DockerfileError) as caught:
        parse(text.encode(), name="Dockerfile.test")
    error = caught.value
    assert (error.message, error.line) == (message, line)
    assert str(error).startswith(f"Dockerfile.test:{line}: " if line else "Dockerfile.test: ")
    if line:
        assert error.excerpt[0] == text.split("\n")[line - 1]


@pytest.mark.parametrize("flag", ["mount=from=$a", "security=x", "device=x", "network=x"])
def test_what_cannot_be_read_says_what_to_do(flag: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(f"FROM a\nRUN --{flag} y".encode())
    assert caught.value.hint


def test_the_excerpt_is_the_whole_instruction() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(b"FROM a\nENV a=1 \\\n  # why\n  b\nRUN c\n")
    assert caught.value.excerpt == ("ENV a=1 \\", "  # why", "  b")


@pytest.mark.parametrize(
    ("text", "message", "excerpt"),
    [
        (b"FROM a\nENV x=caf\xe9", "invalid UTF-8 text", r"ENV x=caf\xe9"),
        (b"FROM a\nRUN <<E\n\xff\nE", "invalid UTF-8 text", r"\xff"),
        (b"FROM a\nRUN \0", "a NUL byte in the text", "RUN \0"),
    ],
)
def test_an_instruction_is_text(text: bytes, message: str, excerpt: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    assert caught.value.message == message and excerpt in caught.value.excerpt


def test_a_comment_may_be_anything() -> None:
    assert parse(b"# caf\xe9\nFROM a # b\xc3\xa9 c".replace(b" # b\xc3\xa9 c", b"")).stages


def test_a_line_has_a_limit() -> None:
    longest = b"FROM a\nRUN " + b"x" * (65535 - 4)
    assert parse(longest).stages
    with pytest.raises(DockerfileError, match="greater than max allowed size of 65535") as caught:
        parse(longest + b"x\n")
    assert caught.value.line == 2
