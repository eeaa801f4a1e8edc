"""Names that were probably meant."""

from __future__ import annotations

import itertools

import pytest

from ocitool.suggestions import _distance, closest, nearest, suggest
from tests.fixtures.deadlines import within


def edits(one: str, other: str) -> int:
    """Count the edits between two words, by their definition."""
    if not one or not other:
        return len(one) + len(other)
    kept = edits(one[1:], other[1:])
    if one[0] == other[0]:
        return kept
    return 1 + min(kept, edits(one[1:], other), edits(one, other[1:]))


def test_edits_are_counted_up_to_three():
    words = ["".join(each) for size in range(5) for each in itertools.product("ab", repeat=size)]
    for one, other in itertools.product(words, [*words, "abbab", "aabbaa"]):
        assert _distance(one, other) == min(3, edits(one, other)), (one, other)


@pytest.mark.slow
def test_long_words_cost_little():
    with within(10):
        assert closest("a" * 60000 + "b", ["a" * 60000 + "c"]).endswith("c")
        assert nearest("a" * 60000 + "b", ["b" * 60000]) == ""


@pytest.mark.parametrize(
    ("name", "names", "near"),
    [
        ("PAHT", ["HOME", "PATH"], "PATH"),
        ("path", ["PATH"], ""),  # case counts
        ("x", ["long", "ab"], "ab"),  # as BuildKit
        ("abc", ["abcd", "abce", "zbc"], "abcd"),  # the first of several
        ("abc", [], ""),
        ("abcdef", ["abcxyz"], ""),
    ],
)
def test_the_variable_that_was_meant(name, names, near):
    assert closest(name, names) == near


def test_a_name_without_its_case():
    assert suggest("cpoy", ["COPY", "ADD"]) == " (did you mean COPY?)"
    assert suggest("x", ["ab"]) == ""
