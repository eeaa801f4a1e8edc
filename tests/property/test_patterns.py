"""Patterns for names and paths match what slow, plain rules match, and never take long."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.builder.context.ignore.pattern import Glued, path_pattern
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.builder.context.name_patterns import matches
from tests.fixtures.deadlines import within
from tests.fixtures.examples import examples

# A token is an escape, a class, or one character.
TOKENS = ["a", "b", "*", "?", "[ab]", "[^a]", "[a-b]", "[b-a]", "[^b-a]", "\\a", "\\*", "\\[", "."]
NAMES = st.text("ab*[.", max_size=8)


def one(token: str, letter: str) -> bool:
    """Say whether *token* matches *letter*."""
    classes = {"[ab]": "ab", "[a-b]": "ab", "[b-a]": ""}
    if token in ("[^a]", "[^b-a]"):
        return token == "[^b-a]" or letter != "a"
    return token == "?" or letter in classes.get(token, (token.removeprefix("\\"),))


def name_matches(tokens: list[str], name: str) -> bool:
    """filepath.Match as it is defined: a star is nothing, or a character and the star again."""
    if not tokens:
        return not name
    if tokens[0] == "*":
        return name_matches(tokens[1:], name) or (name != "" and name_matches(tokens, name[1:]))
    return name != "" and one(tokens[0], name[0]) and name_matches(tokens[1:], name[1:])


@examples(1000)
@given(st.lists(st.sampled_from(TOKENS), max_size=7), NAMES)
def test_a_name_pattern_matches_what_its_definition_matches(tokens: list[str], name: str) -> None:
    assert matches("".join(tokens), name) is name_matches(tokens, name)


def path_matches(tokens: list[str], path: str) -> bool:
    """The same over a path: ``**`` is nothing, or anything up to a slash."""
    if not tokens:
        return not path
    head, rest = tokens[0], tokens[1:]
    if head == "**":
        ends = [at + 1 for at, letter in enumerate(path) if letter == "/"]
        return any(path_matches(rest, path[end:]) for end in (0, *ends))
    if head == "*":
        inside = path != "" and path[0] != "/"
        return path_matches(rest, path) or (inside and path_matches(tokens, path[1:]))
    if head == "/":
        return path.startswith("/") and path_matches(rest, path[1:])
    return path != "" and path[0] != "/" and one(head, path[0]) and path_matches(rest, path[1:])


# Where a star meets "**" is the tokenizer's business, not the matcher's: never side by side.
PIECES = st.lists(
    st.lists(st.sampled_from(["a", "b", "?", "[ab]", "*"]), min_size=1, max_size=3).filter(
        lambda piece: (
            all("*" not in pair for pair in pairwise(piece))
            and piece[0] != "*"
            and piece[-1] != "*"
        )
    ),
    min_size=2,
    max_size=4,
)
PATHS = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


@examples(1000)
@given(PIECES, st.booleans(), PATHS)
def test_glued_stars_match_what_their_definition_matches(
    pieces: list[list[str]], slash: bool, path: str
) -> None:
    middle = ["**", "/", "a"] if slash else ["**"]
    tokens = pieces[0]
    text = "".join(pieces[0])
    for piece in pieces[1:]:
        tokens = [*tokens, *(token for token in middle if token != "/"), *piece]
        text += "".join(middle) + "".join(piece)
    assert isinstance(path_pattern(text), Glued)
    parts = path.split("/")
    parents = ["/".join(parts[:size]) for size in range(1, len(parts) + 1)]
    rules = IgnoreRules.parse(text.encode())
    assert rules.ignored(path) is any(path_matches(tokens, each) for each in parents)


LONG = "a" * 40
HOSTILE = [
    "*a" * 60 + "b",
    "a*" * 60 + "[b]",
    "*?" * 30 + "[^a]",
    "?*" * 30 + "\\b",
]
HOSTILE_PATHS = [
    *HOSTILE,
    "**/a/" * 60 + "b",
    "**/*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b/" * 20 + "c",
    "a**" * 60 + "b",
    "**a*" * 60 + "b",
    "a**/" * 60 + "b",
    "a**" * 2_000 + "b",
]


@pytest.mark.parametrize("pattern", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_pattern_takes_long(pattern: str) -> None:
    with within(2):
        assert not matches(pattern, LONG)
        assert not matches(pattern, "a" * 255)


@pytest.mark.parametrize("pattern", HOSTILE_PATHS, ids=range(len(HOSTILE_PATHS)))
@pytest.mark.parametrize("path", [LONG, "a/" * 40 + "a", f"{LONG}/" * 40 + "a"], ids=range(3))
def test_no_path_pattern_takes_long(pattern: str, path: str) -> None:
    with within(2):
        assert not IgnoreRules.parse(pattern.encode()).ignored(path)
        assert IgnoreRules.parse(f"{pattern}\n*\n".encode()).ignored(path)


def test_a_thousand_hostile_lines_are_a_thousand_times_one() -> None:
    text = "\n".join(f"{'*a' * 20}{number}" for number in range(1000)).encode()
    with within(10):
        rules = IgnoreRules.parse(text)
        assert not rules.ignored(LONG)
        assert rules.ignored(f"{LONG}999")
