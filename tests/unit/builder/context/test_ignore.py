"""Ignore files: what each leaves of a tree, and where a walk may stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.errors import FormatError
from tests.fixtures.tables import read_table

CASES = read_table(Path(__file__).parents[4] / "testdata/dockerfile/ignore.yaml")


def rules(*lines: str) -> IgnoreRules:
    return IgnoreRules.parse("\n".join(lines).encode(), name=".dockerignore")


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_sorts_paths(case: dict[str, Any]) -> None:
    parsed = rules(*case["rules"])
    assert [path for path in case["ignored"] if not parsed.ignored(path)] == []
    assert [path for path in case["kept"] if parsed.ignored(path)] == []
    for directory, expected in case.get("reinclude", {}).items():
        assert parsed.may_reinclude(directory) is expected


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfa\nb", b"a\r\nb\r\n", b"\n\na \n b"])
def test_marks_and_line_ends_are_no_part_of_a_pattern(text: bytes) -> None:
    assert [p.text for p in IgnoreRules.parse(text, name="i").patterns] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("!", 'x:2: illegal exclusion pattern: "!"'),
        ("! ", 'x:2: illegal exclusion pattern: "!"'),
        ("!/", 'x:2: illegal exclusion pattern: "!"'),
        ("[a", "x:2: syntax error in pattern: [a"),
        ("[]a]", "x:2: syntax error in pattern: []a]"),
        ("[z-a]", "x:2: syntax error in pattern: [z-a]"),
        ("[a-]", "x:2: syntax error in pattern: [a-]"),
        ("a\\", "x:2: syntax error in pattern: a\\"),
    ],
)
def test_what_is_no_pattern_is_refused(line: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        IgnoreRules.parse(f"ok\n{line}".encode(), name="x")
    assert str(caught.value) == message


def test_no_rules_are_false_and_ignore_nothing() -> None:
    empty = rules("", "# nothing")
    assert not empty
    assert not empty.ignored("a")
    assert empty.walker().root.settled
    assert rules("a")


def test_the_digest_is_of_what_the_rules_mean() -> None:
    assert rules("a", "!b").digest == rules("# x", " /a/ ", "", "! b").digest
    assert rules("a", "b").digest != rules("b", "a").digest
    assert rules("!a").digest != rules("a").digest


def test_a_walk_stops_where_nothing_can_change() -> None:
    walker = rules("node_modules", "src", "!src/keep").walker()
    modules = walker.enter(walker.root, "node_modules", True)
    assert (modules.ignored, modules.settled) == (True, True)
    assert walker.enter(modules, "x", True) is modules
    other = walker.enter(walker.root, "other", True)
    assert (other.ignored, other.settled) == (False, True)
    source = walker.enter(walker.root, "src", True)
    assert (source.ignored, source.settled) == (True, False)
    assert not walker.enter(source, "keep", True).ignored
    assert walker.enter(source, "lose", True).settled


def test_a_file_is_always_settled() -> None:
    walker = rules("**/*.pyc", "!**/x").walker()
    for name in ("a.pyc", "x", "y"):
        assert walker.enter(walker.root, name, False).settled


def test_directories_alike_share_a_state() -> None:
    walker = rules("**/*.pyc", "a").walker()
    below = walker.enter(walker.root, "x", True)
    assert walker.enter(below, "y", True) is below
