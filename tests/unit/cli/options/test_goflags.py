"""Flags with values, values without a space, and options whose value may be left out."""

from __future__ import annotations

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.cli.options.goflags import OptionalValue, normalized

COMMAND = click.Command(
    "run",
    params=[
        click.Option(["--rm", "remove"], is_flag=True),
        click.Option(["-i", "--interactive"], is_flag=True),
        click.Option(["-t", "--tty"], is_flag=True),
        click.Option(["-e", "--env"], multiple=True),
        OptionalValue(["-p", "--pull"], bare="always"),
        click.Argument(["args"], nargs=-1),
    ],
)
FOREGROUND = click.Command(
    "run", params=COMMAND.params, context_settings={"allow_interspersed_args": False}
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--rm=true x", "--rm x"),
        ("--rm=false x", "x"),
        ("--rm --rm=false x", "x"),
        ("--rm=0 --rm x", "--rm x"),
        ("-it x", "-i -t x"),
        ("-i=false -t=1 x", "-t x"),
        ("-ieA=1 x", "-i --env=A=1 x"),
        ("-e=A=1 -e A=1 --env A x", "--env=A=1 --env=A=1 --env=A x"),
        ("-e --rm x", "--env=--rm x"),
        ("--pull x", "--pull=always x"),
        ("--pull=never x", "--pull=never x"),
        ("-p x -ip", "--pull=always x -i --pull=always"),
        ("x --rm=false -- --rm=false", "x -- --rm=false"),
        ("--other=1 -xit - x", "--other=1 -xit - x"),
        ("--env", "--env"),
    ],
)
def test_words_as_click_reads_them(line, expected):
    assert " ".join(normalized(COMMAND, line.split())) == expected


def test_words_after_the_first_argument_of_run_belong_to_the_container():
    line = ["--rm=true", "image", "--rm=false", "-i=1"]
    assert normalized(FOREGROUND, line) == ["--rm", "image", "--rm=false", "-i=1"]


@pytest.mark.parametrize("word", ["--rm=maybe", "-i=2", "--rm="])
def test_a_flag_that_is_neither_true_nor_false(word):
    with pytest.raises(click.UsageError, match="expected 'true' or 'false'"):
        normalized(COMMAND, [word])


WORDS = st.sampled_from(
    ["--rm", "-i", "-t", "-it", "x", "-", "--env=A=1", "-eA", "-e A", "--env A"]
)


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(st.lists(WORDS, max_size=6))
def test_what_click_reads_itself_means_the_same(words):
    args = " ".join(words).split()

    def read(given):
        return COMMAND.make_context("run", list(given)).params

    assert read(normalized(COMMAND, args)) == read(args)
    assert normalized(COMMAND, normalized(COMMAND, args)) == normalized(COMMAND, args)
