"""What a registry sends in headers and error pages is read in one go, whatever it is."""

from __future__ import annotations

import pytest

from ocitool_registry.auth.challenge import parse_challenges
from ocitool_registry.protocol import next_link
from ocitool_registry.transport.errors import _text
from ocitool_registry.transport.requests import _NOISE
from tests.fixtures.deadlines import within

SIZE = 150_000
PIECES = [
    "<",
    "<a>;",
    '<a>;b="',
    "<a>; ",
    '"',
    "\\",
    " ",
    ",",
    "a",
    "a=",
    'a="',
    '\\"',
    ";rel",
    "=",
    "a ",
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("begin", ["", "<a>;b=", "Bearer ", 'Bearer realm="'])
def test_no_header_takes_long(begin, piece):
    header = begin + piece * (SIZE // len(piece)) + "!"
    with within(10):
        next_link(header)
        parse_challenges(header)


@pytest.mark.parametrize("piece", [b"<script ", b"<style", b"<", b"</script", b"<script></style>"])
def test_no_error_page_takes_long(piece):
    with within(10):
        assert _text(piece * (SIZE // len(piece)) + b"end").count("script") < 100


def test_a_script_that_is_not_closed_hides_the_rest():
    assert _text(b"<h1>Denied</h1><script>var a = 1 < 2; <p>text") == "Denied"


def test_no_text_of_a_broken_connection_takes_long():
    with within(10):
        assert _NOISE.sub("", "HTTPConnection(" * 20_000).count("(") == 20_000
    noisy = "HTTPConnection(host='a', port=1): Failed to establish a new connection: [Errno 111] no"
    assert _NOISE.sub("", noisy) == "no"
