"""Progress as lines: plain, as it comes."""

from __future__ import annotations

import pytest

from ocitool.cli.output.text import LineBuffer, plain_text


@pytest.mark.parametrize(
    ("chunks", "lines", "rest"),
    [
        ([b"a\nb\n"], ["a", "b"], []),
        ([b"a", b"b", b"\nc"], ["ab"], ["c"]),
        ([b"a\r\nb\r", b"\nc\r\n"], ["a", "b", "c"], []),
        ([b"10%\r20%\r100%\n"], ["100%"], []),
        ([b"10%\r", b"20%\r"], [], ["20%"]),
        ([b"caf\xc3", b"\xa9\n"], ["café"], []),
        ([b"\xff\xfe|\n"], ["\ufffd\ufffd|"], []),
        ([b"caf\xc3"], [], ["caf\ufffd"]),
        ([b"\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b[2K\n"], ["red x"], []),
        ([b"\x1b[3", b"1mred\n"], ["red"], []),
        ([b"a\x08\x07\x00b\tc\n"], ["ab\tc"], []),
        ([b"\n\n"], ["", ""], []),
        ([b""], [], []),
    ],
)
def test_lines(chunks: list[bytes], lines: list[str], rest: list[str]) -> None:
    buffer = LineBuffer()
    assert [line for chunk in chunks for line in buffer.feed(chunk)] == lines
    assert buffer.flush() == rest
    assert buffer.flush() == []


def test_only_the_last_lines_where_the_others_are_not_wanted() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"".join(b"%d\n" % n for n in range(100)), last=2) == ["98", "99"]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    buffer = LineBuffer()
    lines = [line for _ in range(100) for line in buffer.feed(b"x" * 1000)]
    assert sum(map(len, lines)) + len(buffer.flush()[0]) == 100_000
    assert len(lines) == 3


@pytest.mark.slow
def test_a_bar_without_newlines_keeps_its_last_state_only() -> None:
    buffer = LineBuffer()
    for number in range(100_000):
        buffer.feed(b"%d\r" % number)
    assert buffer.flush() == ["99999"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[1;31mx\x1b[m", "x"),
        ("\x1b(Bx\x1b7", "x"),
        ("\x9b31mx", "x"),
        ("\x1b]a\nb\x1b]c\x07d", "\nbd"),
        ("a\nb\tc", "a\nb\tc"),
    ],
)
def test_plain_text(text: str, plain: str) -> None:
    assert plain_text(text) == plain
