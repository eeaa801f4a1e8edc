"""JSON that others wrote."""

from __future__ import annotations

import pytest

from ocitool.oci.json_text import parse_json


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    text = rb'{"\ud800": ["a\udc00", {"b": "\ud83d\ude00"}], "c": 1}'
    assert parse_json(text) == {"\ufffd": ["a\ufffd", {"b": "\U0001f600"}], "c": 1}
    parse_json(text)["\ufffd"][0].encode()


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|line 1 column|decode"):
        parse_json(text)
