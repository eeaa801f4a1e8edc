"""Output of steps without the values of secrets."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.builder.secrets.masking import Masking
from ocitool.builder.secrets.secrets import Secrets

VALUES = {"a": b"topsecret1234", "b": b"to", "c": b"two\nlines\n", "d": b"topsecret"}


def shown(*pieces: bytes) -> bytes:
    masking = Masking(Secrets(VALUES))
    return b"".join([*map(masking.feed, pieces), masking.end()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"x topsecret1234 y\n", b"x *** y\n"),
        (b"topsecret1235", b"***1235"),
        (b"topsecre", b"topsecre"),
        (b"toptopsecret", b"top***"),
        (b"two\nlines\nthree", b"***\nthree"),
        (b"dG9wc2VjcmV0MTIzNA==", b"***A=="),
        (base64.b64encode(b"x:topsecret1234"), b"eDp***"),
        (b"", b""),
    ],
)
def test_values_are_hidden_however_they_come(text, expected):
    assert shown(text) == expected
    for at in range(len(text)):
        assert shown(text[:at], text[at:]) == expected
    assert shown(*(text[at : at + 1] for at in range(len(text)))) == expected


@given(st.lists(st.binary(max_size=20)))
def test_other_output_passes_as_it_is(pieces):
    whole = b"".join(pieces)
    if not any(value.strip() in whole for value in VALUES.values()):
        assert shown(*pieces) == whole


def test_no_more_is_held_back_than_may_be_a_value():
    masking = Masking(Secrets(VALUES))
    assert masking.feed(b"prompt> ") == b"prompt> "
    assert masking.feed(b"prompt to") == b"prompt "
    assert masking.feed(b"ken") == b"token"
    assert masking.end() == b""


def test_without_secrets_everything_passes_at_once():
    masking = Masking(Secrets({}))
    assert masking.feed(b"anything") == b"anything" and masking.end() == b""
