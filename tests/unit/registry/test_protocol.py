"""Paths, errors, ranges and links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool_registry import protocol
from ocitool_registry.protocol import BadRange


def test_an_error_response_is_parsed():
    found = protocol.parse_error(protocol.dump_error("NAME_UNKNOWN", "no such"))
    assert found == protocol.ErrorInfo("NAME_UNKNOWN", "no such")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"errors":{}}', b'{"errors":[]}', b'{"errors":["a"]}']
)
def test_other_bodies_are_not_error_responses(body):
    assert protocol.parse_error(body) is None


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=500-1499", (500, 1000)),
        ("bytes=500-", (500, 1000)),
        ("bytes=-500", (500, 1000)),
        ("bytes=-5000", (0, 1000)),
        ("bytes=999-5000", (999, 1000)),
        ("", None),
        ("bytes=-", None),
        ("items=0-1", None),
        ("bytes=0-1,5-6", None),
    ],
)
def test_ranges_are_parsed(header, want):
    assert protocol.parse_range(header, 1000) == want


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=500-0", "bytes=5000-10000", "bytes=-0"])
def test_unsatisfiable_ranges_are_rejected(header):
    with pytest.raises(BadRange):
        protocol.parse_range(header, 1000)


@pytest.mark.parametrize("header", ["0-9", "bytes 0-9/100", "bytes 0-9/*", "bytes=0-9"])
def test_content_ranges_are_parsed(header):
    assert protocol.parse_content_range(header) == (0, 10)


@pytest.mark.parametrize("header", ["", "9-0", "a-b", "0-", "-9"])
def test_malformed_content_ranges_are_rejected(header):
    with pytest.raises(BadRange):
        protocol.parse_content_range(header)


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ('</v2/a/tags/list?n=1&last=b>; rel="next"', "/v2/a/tags/list?n=1&last=b"),
        ("<x>; rel=next", "x"),
        ('<x>; title="a, b"; rel="prev next"', "x"),
        ('<p>; rel="prev", <n,1>; REL="next"', "n,1"),
        ('<x>; rel="prev"', ""),
        ("<x>", ""),
        ("", ""),
    ],
)
def test_the_next_link_is_found(header, want):
    assert protocol.next_link(header) == want


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("http://h/p", "http://h/p?digest=a%3Ab"),
        ("http://h/p?_state=x%3D", "http://h/p?_state=x%3D&digest=a%3Ab"),
        ("http://h/p#f", "http://h/p?digest=a%3Ab#f"),
    ],
)
def test_a_query_is_appended_to_an_existing_one(url, want):
    assert protocol.with_query(url, digest="a:b") == want


@given(st.text(alphabet="bytes=0123456789-/* ") | st.text() | st.just("bytes=" + "9" * 5000))
def test_any_range_is_satisfiable_or_rejected(header):
    try:
        found = protocol.parse_range(header, 100)
        protocol.parse_content_range(header)
    except BadRange:
        return
    assert found is None or 0 <= found[0] < found[1] <= 100


@given(st.text(alphabet='<>;,="\\ relnxt') | st.text())
def test_any_link_can_be_parsed(header):
    protocol.next_link(header)


def test_a_hostile_link_costs_no_time():
    assert protocol.next_link("<x>; a=" + " " * 60_000 + "!") == ""
    assert protocol.next_link("<x>" + "; a=" * 15_000) == ""
