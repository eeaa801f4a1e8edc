"""Quoting and expansion, from a table of text and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocitool.builder.dockerfile.expansion.expand import expand, expand_raw, split_words
from ocitool.builder.dockerfile.expansion.limit import WordError
from ocitool.builder.dockerfile.expansion.variables import Variables
from ocitool.go_values import quoted
from tests.fixtures.tables import read_table

CASES = read_table(Path(__file__).parents[4] / "testdata/dockerfile/words.yaml")
LOOKUP = {
    "greeting": "hello",
    "path": "/usr/local/bin",
    "file": "archive.tar.gz",
    "empty": "",
    "stars": "a*b*c",
    "five": "aXbXc",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [pytest.param(*case, id=case[0]) for cases in CASES.values() for case in cases],
)
def test_expands(text: str, expected: Any) -> None:
    if isinstance(expected, str):
        assert expand(text, LOOKUP) == expected
        return
    with pytest.raises(WordError) as caught:
        expand(text, LOOKUP)
    assert str(caught.value) == f"failed to process {quoted(text)}: {expected['error']}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`$greeting", "$greeting"),
        (r"\$greeting", r"\hello"),
        (r"c:\dir", r"c:\dir"),
        ('"`"\\"', '"\\'),
    ],
)
def test_the_escape_character_can_be_a_backtick(text: str, expected: str) -> None:
    assert expand(text, LOOKUP, escape="`") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80 81", ["80", "81"]),
        ("80$empty", ["80"]),
        ("$ports", ["80", "81/udp"]),
        ('"$ports"', ["80 81/udp"]),
        (r"a\ b", ["a b"]),
        ("$empty", []),
        ("x${ports}y", ["x80", "81/udpy"]),
    ],
)
def test_splits_behind_the_expansion(text: str, expected: list[str]) -> None:
    assert split_words(text, {"ports": "80 81/udp", "empty": ""}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("say \"$greeting\" '$greeting'\n", "say \"hello\" 'hello'\n"),
        (r"\$greeting", "$greeting"),
        ("it's $missing", "it's "),
    ],
)
def test_heredocs_keep_their_quotes(text: str, expected: str) -> None:
    assert expand_raw(text, LOOKUP) == expected


def test_which_names_were_looked_up_and_which_are_not_set() -> None:
    used = Variables(LOOKUP)
    expand("$greeting $a ${b:-$c} '$d' ${e%x} ${f/a/b} ${g+x} \\$h", used)
    assert used.unset == {"a", "b", "c", "e", "f", "g"}  # a default hides none, as in BuildKit
    assert used.found == {"greeting": "hello"}


def test_nesting_has_an_end() -> None:
    with pytest.raises(WordError, match="nested more than"):
        expand("${a:-" * 500 + "}" * 500, {})


def test_many_stars_do_not_hang() -> None:
    assert expand("${a%%" + "*b" * 50 + "}", {"a": "b" * 49 + "a" * 500}) != ""
