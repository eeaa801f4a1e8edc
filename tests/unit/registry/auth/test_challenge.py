"""Challenges in all the forms that registries and proxies give them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool_registry.auth.challenge import Challenge, choose, parse_challenges


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        (
            'Bearer realm="https://t/x",service="s",scope="repository:a:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://t/x",
                        "service": "s",
                        "scope": "repository:a:pull,push",
                    },
                )
            ],
        ),
        (
            'bearer REALM = "a" , Service=s, Basic realm="q\\"x\\\\"',
            [("bearer", {"realm": "a", "service": "s"}), ("basic", {"realm": 'q"x\\'})],
        ),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ("Negotiate YII+/w==, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        (', , Basic realm="x",', [("basic", {"realm": "x"})]),
    ],
)
def test_challenges_are_parsed(header, want):
    found = parse_challenges(header)
    assert [(one.scheme, dict(one.parameters)) for one in found] == want


def test_a_quote_that_does_not_end_keeps_the_scheme():
    assert parse_challenges('Basic realm="unfinished')[0].scheme == "basic"


def test_bearer_is_preferred_to_basic():
    basic, bearer = Challenge("basic"), Challenge("bearer")
    assert choose((Challenge("negotiate"), basic, bearer)) == bearer
    assert choose((basic,)) == basic
    assert choose((Challenge("negotiate"),)) is None


@given(st.text())
def test_any_text_can_be_parsed(header):
    parse_challenges(header)


@given(st.text(alphabet='aB ,="\\:/'))
def test_any_punctuation_can_be_parsed(header):
    parse_challenges(header)
