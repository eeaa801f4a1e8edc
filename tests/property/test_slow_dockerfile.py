"""Random texts: the product reads them as the slow rules do, or both refuse them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Final

import pytest

from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.builder.definition import ResolvedImage
from ocitool.builder.dockerfile.arguments import split_quoted
from ocitool.builder.dockerfile.expansion.expand import expand, split_words
from ocitool.builder.dockerfile.lines.split import split
from ocitool.builder.dockerfile.parser import parse
from ocitool.builder.frontend.arguments import Arguments
from ocitool.builder.frontend.frontend import define
from ocitool.errors import FormatError
from ocitool.oci.platform import this_platform
from tests.fuzz.values import RandomValues
from tests.property import slow_dockerfile as slow
from tests.property.slow_variables import last_stage

#: How many of each; a campaign tries OCITOOL_TEXTS of them.
_FEW: Final = 2000
_ENV: Final = {"v": "foo bar", "w": "a/b.c", "e": "", "A": "x*y", "s": " two  words ", "n": "a\nb"}
_WORDS: Final = (
    *("$", "${", "}", "v", "w", "e", "A", "s", "n", "none", ":-", ":+", ":?", "-", "+", "?"),
    *("#", "##", "%", "%%", "/", "//", "*", "\\", "\\", '"', '"', "'", "`", " ", "  ", "a", "b"),
    *("o", ".", "\\*", "\\}", "\\/", "$v", "${w}", "${v:-", "${w#", "${v//o/", "${w/", "${v%", "ü"),
    *("1", "$1", "$$", "$0", "$$0", "_", "\t", "x=", "${n#", "\\$0"),
)  # fmt: skip
_LINES: Final = (
    *("FROM a", "RUN x", "RUN x \\", "RUN y\\", "COPY <<E /x", "COPY <<-'E' <<F /x/", "  # c"),
    *("#c", "", "  ", "\t", "E", "\tE", "F", "E ", "  z \\", "z", "z `", "z``", "z\\\\", "z \\ \t"),
    *("\\", "RUN << E", "ADD <<\"E\" /", "ENV A=<<E", "ONBUILD COPY <<E /", "onbuild run <<-E"),
    *("# escape=`", "#escape = \\", "# Escape=`", "# check=skip=all", "# foo=bar", "\ttext\\"),
    *("RUN", "`", "x\r", "RUN x \\\r", "RUN 3<<E", "RUN cat <<E && sh <<F", "# escape=x"),
    "# syntax=docker/dockerfile:1",
)  # fmt: skip
_RULES: Final = (
    *("a", "b", "ab", "*", "**", "?", "/", "/", "/", "!", "#", " ", "\n", "\n", "..", ".", "[ab]"),
    *("[^a]", "\\a", "\\*", "a*", "*b", "**/", "/**", "**/a", "!a", "!**/b", "\ufeff", "\r\n", "c"),
)  # fmt: skip
_NAMES: Final = ("a", "b", "ab", "aab", "c", "*", "a.b")


def _text(dice: random.Random, pieces: tuple[str, ...], most: int, between: str = "") -> str:
    return between.join(dice.choice(pieces) for _ in range(dice.randint(1, most)))


def _result(read: Callable[[], object]) -> object:
    try:
        return read()
    except (FormatError, slow.Wrong):
        return "refused"


def _words(dice: random.Random) -> tuple[str, object, object]:
    text, escape = _text(dice, _WORDS, 10), dice.choice("\\\\\\`")
    ours = _result(
        lambda: (expand(text, _ENV, escape=escape), split_words(text, _ENV, escape=escape))
    )
    theirs = _result(lambda: (slow.expanded(text, _ENV, escape), slow.words(text, _ENV, escape)))
    return f"{escape} {text!r}", ours, theirs


def _quoted(dice: random.Random) -> tuple[str, object, object]:
    text, escape = _text(dice, _WORDS, 10), dice.choice("\\`")
    return f"{escape} {text!r}", split_quoted(text, escape), slow.quoted_words(text, escape)


def _instructions(dice: random.Random) -> tuple[str, object, object]:
    text = dice.choice(("", "", "\ufeff")) + _text(dice, _LINES, 9, "\n") + dice.choice(("", "\n"))

    def ours() -> object:
        lines = split(text.encode()).lines
        return [
            (line.span.text, [(each.name, each.text) for each in line.heredocs]) for line in lines
        ]

    return repr(text), _result(ours), _result(lambda: slow.instructions(text))


def _ignored(dice: random.Random) -> tuple[str, object, object]:
    text, path = _text(dice, _RULES, 9), _text(dice, _NAMES, 4, "/")
    ours = _result(lambda: IgnoreRules.parse(text.encode()).ignored(path))
    return f"{text!r} {path!r}", ours, _result(lambda: slow.ignored(text, path))


def _variables(dice: random.Random) -> tuple[str, object, object]:
    escape = dice.choice("\\\\\\`")
    values = RandomValues(dice, new=True, escape=escape)

    def line(*kinds: str) -> str:
        word, names = dice.choice(kinds), dice.choices("ABCDGH", k=dice.choice((1, 1, 2)))
        pairs = (f"{name}={values.word()}" for name in names)
        if word == "ARG":
            pairs = (pair if dice.random() < 0.6 else pair[0] for pair in pairs)
        text = f"{word} {' '.join(pairs)}"
        return f"{text}." if text.endswith(escape) else text  # no continuation

    lines = [line("ARG") for _ in range(dice.choice((0, 1, 3)))]
    for number in range(dice.choice((1, 2, 3))):
        bases = ["scratch", *(f"s{each}" for each in range(number))]
        lines.append(f"FROM {dice.choice(bases)} AS s{number}")
        lines += [line("ARG", "ENV", "LABEL") for _ in range(dice.randint(0, 5))]
    given = {name: dice.choice(("given", "", "$A")) for name in dice.sample("ABGH", 2)}
    text = f"# escape={escape}\n" + "".join(f"{each}\n" for each in lines)

    def ours() -> object:
        platform = this_platform()
        arguments = Arguments(build_args=given, platform=platform, build_platform=platform)
        run = define(parse(text.encode()), arguments, _no_image, lambda _: None).image.run
        env = dict(each.split("=", 1) for each in run.env)
        return {name: value for name, value in env.items() if name != "PATH"}, dict(run.labels)

    def theirs() -> object:
        stage = last_stage(lines, given, escape)
        return stage.env, stage.labels

    return f"{text!r} {given}", _result(ours), _result(theirs)


def _no_image(reference: str, platform: object) -> ResolvedImage:
    raise AssertionError(reference)


@pytest.mark.parametrize("kind", [_words, _quoted, _instructions, _ignored, _variables])
def test_texts_are_read_as_the_slow_rules_say(kind) -> None:
    dice = random.Random(kind.__name__)
    for _ in range(int(os.environ.get("OCITOOL_TEXTS", _FEW))):
        text, ours, theirs = kind(dice)
        assert ours == theirs, text
