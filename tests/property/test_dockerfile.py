"""Whatever the text: parsers raise format errors only, and agree with slow and plain rules."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ocitool.builder.chown_chmod import parse_chmod, parse_chown
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.builder.definition import Definition, ResolvedImage
from ocitool.builder.dockerfile import values
from ocitool.builder.dockerfile.expansion import expand as words
from ocitool.builder.dockerfile.parser import parse, parse_trigger
from ocitool.builder.frontend.arguments import Arguments
from ocitool.builder.frontend.frontend import define
from ocitool.errors import FormatError, OcitoolError
from ocitool.go_values import parse_duration
from ocitool.oci.config import ImageConfig, RunConfig
from ocitool.oci.digest import Digest
from ocitool.oci.platform import this_platform
from tests.fixtures.examples import examples

# Text that comes near the grammar: pieces of it, in any order.
PIECES = st.sampled_from(
    [
        *("FROM a", "RUN ", "COPY ", "ADD ", "ENV ", "ARG ", "LABEL ", "HEALTHCHECK ", "EXPOSE "),
        "ONBUILD ",
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


@given(st.one_of(st.text(st.characters(), max_size=100), LINES))  # surrogates, too
def test_triggers_of_an_image_raise_format_errors_only(trigger: str) -> None:
    file = parse(b"# x\nFROM a")
    try:
        instruction, _ = parse_trigger(trigger, file.stages[0].from_.span)
    except FormatError as error:
        assert error.where or "Dockerfile:2" in str(error)
    else:
        assert instruction.span.first == 2


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
    lambda text: values.Port.parse(text).exposed(),
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


# Instructions as triggers, and as lines of the Dockerfile itself.
LINES_OF_A_STAGE = st.lists(
    st.sampled_from(
        [
            *("ARG A=1", "ARG A", "ARG G", "ENV A=$A.$G B=2", "WORKDIR $A", "WORKDIR /w", "USER 5"),
            *("RUN make $A", 'RUN ["a", "$A"]', "RUN <<E\n$A\nE", "RUN <<E\n#!/bin/a\nE", "CMD a"),
            *("COPY a $A b/", "ADD --chown=$A a b", "COPY --from=lib /l $A", "COPY --from=0 /m /m"),
            *("COPY <<E <<'F' /d/\n$A\nE\n$A\nF", "COPY --from=image / /i", "LABEL a=$A"),
            *("EXPOSE $B", "ONBUILD ENV A=$A"),
            *('SHELL ["a"]', "ENTRYPOINT e", "VOLUME /v", "STOPSIGNAL 9", "HEALTHCHECK CMD $A"),
            *("MAINTAINER me", "COPY --from=late / /", "COPY --from=self / /", "COPY --from=9 / /"),
        ]
    ),
    max_size=8,
)


@given(LINES_OF_A_STAGE, LINES_OF_A_STAGE, st.booleans())
def test_triggers_make_what_their_lines_make_behind_from(
    triggers: list[str], own: list[str], of_a_stage: bool
) -> None:
    """Whether an image has recorded them or an earlier stage, except names and locations."""
    if of_a_stage:
        triggers = [each for each in triggers if not each.startswith(("MAINTAINER", "ONBUILD"))]
        stage = "\n".join(f"ONBUILD {each}" for each in triggers)
        first = _defined((), f"FROM other AS base\n{stage}", own)
        second = _defined((), "FROM other AS base", [*triggers, *own])
    else:
        first = _defined(tuple(triggers), "FROM other AS unused", own)
        second = _defined((), "FROM other AS unused", [*triggers, *own])
    assert first == second


def _defined(on_build: tuple[str, ...], second: str, lines: list[str]) -> object:
    """Return a definition without names and locations, with its warnings, or that there is none."""
    head = f"ARG G=global\nFROM other AS lib\nRUN l\n{second}\nFROM base AS self"
    file = parse("\n".join([head, *lines, "FROM other AS late"]).encode())

    def resolve(reference: str, platform: object) -> ResolvedImage:
        run = RunConfig(on_build=on_build if reference == "base" else ())
        config = ImageConfig(platform=this_platform(), run=run)
        return ResolvedImage(digest=Digest.parse(f"sha256:{'a' * 64}"), config=config)

    warnings: list[str] = []
    arguments = Arguments(platform=this_platform(), build_platform=this_platform(), target="self")
    try:
        made = define(file, arguments, resolve, warnings.append)
    except OcitoolError:  # of several faults those of the file itself are found first
        return "an error"
    texts = sorted(re.sub(r"^\S+: ", "", text) for text in warnings)
    return _unlocated(made), texts


def _unlocated(made: Definition) -> tuple[object, ...]:
    base = made.image.base
    assert base is not None
    known = replace(base, run=replace(base.run, on_build=()))
    return made.vertices, made.result, replace(made.image, base=known), made.epoch
