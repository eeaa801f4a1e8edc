"""Whatever the text: parsers raise format errors only, and agree with slow and plain rules."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ocitool.builder.chown_chmod import parse_chmod, parse_chown
from ocitool.builder.context.ignore import IgnoreRules
from ocitool.builder.dockerfile import expand as words
from ocitool.builder.dockerfile import values
from ocitool.builder.dockerfile.durations import parse_duration
from ocitool.builder.dockerfile.parser import parse
from ocitool.errors import FormatError
from tests.fixtures.examples import examples

# Text that comes near the grammar: pieces of it, in any order.
PIECES = st.sampled_from(
    [
        *("FROM a", "RUN ", "COPY ", "ADD ", "ENV ", "ARG ", "LABEL ", "HEALTHCHECK ", "EXPOSE "),
        *("#", "escape=`", "<<E", "<<-'E'", "E", "--from=", "--x", '["', '"]', "'", '"', "\\"),
        *("`", "\n", "\r\n", "\t", " ", "=", "$", "${", "}", "a", "1", ":-", "/", "%", "|"),
    ]
)
LINES = st.lists(PIECES, max_size=30).map("".join)


@given(st.one_of(st.binary(max_size=200), LINES.map(str.encode)))
def test_parsing_raises_format_errors_only(text: bytes) -> None:
    for whole in (text, b"FROM a\n" + text):
        try:
            dockerfile = parse(whole)
        except FormatError:
            continue
        spans = [i.span for stage in dockerfile.stages for i in (stage.from_, *stage.instructions)]
        assert all(one.last < other.first for one, other in pairwise(spans))


@given(st.text(max_size=50), st.sampled_from("\\`"))
def test_plain_text_expands_to_itself(text: str, escape: str) -> None:
    plain = re.sub(r"[$\"'\\`]", "", text)
    assert words.expand(plain, {}, escape=escape) == plain
    assert words.split_words(plain, {}, escape=escape) == plain.split()


SUBSTITUTIONS = st.lists(st.sampled_from("${v}:-+?#%/*\\'\"a b"), max_size=25).map("".join)


@given(SUBSTITUTIONS, st.text("ab*?/\\\n", max_size=8))
def test_expansion_raises_word_errors_only(text: str, value: str) -> None:
    for expand in (words.expand, words.split_words, words.expand_raw):
        with suppress(words.WordError):
            expand(text, {"v": value, "a": ""})  # type: ignore[operator]


PARSERS: list[Callable[[str], Any]] = [
    values.parse_port,
    values.parse_stop_signal,
    parse_chmod,
    parse_chown,
    values.source_kind,
    parse_duration,
]


@given(st.sampled_from(PARSERS), st.text(max_size=20))
def test_values_raise_format_errors_only(parser: Callable[[str], Any], text: str) -> None:
    with suppress(FormatError):
        parser(text)


GLOBS = st.text("ab*?", max_size=6)


@given(GLOBS, st.text("ab", max_size=8), st.booleans())
def test_trimming_agrees_with_a_search_of_all_ends(glob: str, value: str, longest: bool) -> None:
    whole = re.compile(glob.replace("*", ".*").replace("?", "."))
    cut = [size for size in range(len(value) + 1) if whole.fullmatch(value[:size])]
    expected = value[(max(cut) if longest else min(cut)) :] if cut else value
    text = "${v#" + "#" * longest + glob + "}"
    if not longest and glob.startswith("#"):
        return
    assert words.expand(text, {"v": value}) == expected


@examples(1000)
@given(GLOBS.filter(bool), st.text("ab\n", max_size=9), st.booleans())
def test_replacing_agrees_with_a_regular_expression(
    glob: str, value: str, everywhere: bool
) -> None:
    whole = re.compile(re.sub(r"\*+", "*", glob).replace("*", ".*").replace("?", "."))
    spans = []
    done = -1
    for found in whole.finditer(value):
        # Python counts an empty match directly behind another one.
        if found.end() > found.start() or found.start() != done:
            spans.append(found.span())
        done = found.end()
    expected = value
    for start, end in reversed(spans if everywhere else spans[:1]):
        expected = f"{expected[:start]}-{expected[end:]}"
    text = "${v/" + "/" * everywhere + glob + "/-}"
    assert words.expand(text, {"v": value}) == expected


# -- ignore files --------------------------------------------------------------------------

SEGMENTS = st.sampled_from(["a", "b", "ab", "*", "**", "a*", "*b", "?", "[ab]", "a**", "**b", "."])
PATTERNS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "!", "/", "! "]),
    st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join),
    st.sampled_from(["", "", "/"]),
)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "aab", "c"]), min_size=1, max_size=4)


def translate(pattern: str) -> str:
    """A pattern as a regular expression over the whole path, straight from the rules."""
    if pattern.startswith("**") and not set(pattern[2:]) & set("*?["):
        rest = pattern[2:]
        return rf"(.*/)?{rest[1:]}" if rest.startswith("/") else rf".*{rest}"
    pieces = []
    for piece in re.findall(r"\*\*/?|.", pattern):
        if piece.startswith("**"):
            pieces.append("(.*/)?")
        else:
            pieces.append({"*": "[^/]*", "?": "[^/]"}.get(piece, piece))
    expression = "".join(pieces)
    return f"{expression[: -len('(.*/)?')]}.*" if expression.endswith("(.*/)?") else expression


def slow(lines: list[str], path: str) -> bool:
    ignored = False
    parts = path.split("/")
    parents = ["/".join(parts[: size + 1]) for size in range(len(parts))]
    for line in lines:
        exception = line.startswith("!")
        pattern = posixpath.normpath(line.lstrip("!").strip()).lstrip("/")
        if pattern != "." and any(re.fullmatch(translate(pattern), each) for each in parents):
            ignored = not exception
    return ignored


@examples(500)
@given(st.lists(PATTERNS, max_size=5), PATHS)
def test_ignore_rules_agree_with_the_slow_way(lines: list[str], parts: list[str]) -> None:
    path = "/".join(parts)
    try:
        rules = IgnoreRules.parse("\n".join(lines).encode(), name="x")
    except FormatError:
        return
    assert rules.ignored(path) is slow(lines, path)
    below = f"{path}/a/b"
    if slow(lines, path) and not rules.may_reinclude(path):
        assert slow(lines, below)
    if not rules.ignored(path):
        assert not rules.may_reinclude(path)


@given(st.binary(max_size=60), st.text("ab/.", max_size=10))
def test_ignore_files_raise_format_errors_only(text: bytes, path: str) -> None:
    try:
        rules = IgnoreRules.parse(text, name="x")
    except FormatError:
        return
    rules.ignored(path)
    assert rules.digest.startswith("sha256:")
