"""Whatever is typed behind ``--format``: text or a `FormatError`, nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocitool.cli.gotemplate.template import Template
from ocitool.errors import FormatError

ROW = {
    "A": 1,
    "B": "text",
    "L": ["a", None, {"X": 1}],
    "M": {"a.b": "c"},
    "N": None,
    "F": 1.5,
    "E": {"Env": [], "T": True},
    "Label": lambda key: key.upper(),
}
WORDS = """
{{ }} {{- if range with end else . .. .A .B .L .M .N .E.Env $ $x := = | ( ) , 1 -3 1e400 1e5
"s" `r` "%d%s" "%5.2f" "%c%x" json index len join split printf slice truncate pad title eq lt
and or not print println upper .Label nil true /* */ \\t é \x00
"""
PIECES = st.sampled_from([*WORDS.split(), " ", " -}}"])
ACTIONS = st.lists(PIECES, min_size=1, max_size=6).map(lambda words: f"{{{{{' '.join(words)}}}}}")
TEMPLATES = st.one_of(
    st.text(),
    st.lists(PIECES, max_size=25).map("".join),
    st.lists(ACTIONS, max_size=5).map("".join),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(TEMPLATES)
def test_only_format_errors(text: str) -> None:
    with contextlib.suppress(FormatError):
        template = Template.parse(text)
        assert isinstance(template.render(ROW), str)
        assert isinstance(template.headings({"A": "A"}), str)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.text().filter(lambda text: "{{" not in text and "\\" not in text))
def test_text_without_actions_comes_out_as_it_is(text: str) -> None:
    marked = f"|{text}"  # so that it is no field path and no keyword
    assert Template.parse(marked).render({}) == marked
