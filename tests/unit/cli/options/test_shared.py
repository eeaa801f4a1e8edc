"""Filters and sizes, read as docker reads them."""

from __future__ import annotations

import time

import click
import pytest

from ocitool.cli.options.shared import parse_filters, parse_size
from ocitool.store.maintenance.filters import Filters

SECOND = 10**9


def until(text):
    return parse_filters([f"until={text}"]).until


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("24h", 86400), ("1h30m", 5400), ("1.5h", 5400), ("300ms", 0.3), ("10m", 600), (".5s", 0.5)],
)
def test_a_span_is_before_now(text, seconds, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    assert until(text) == 10**18 - round(seconds * SECOND)


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        ("1767258000", 1767258000 * SECOND),
        ("1767258000.000000001", 1767258000 * SECOND + 1),
        ("2026-01-01T09:00:00Z", 1767258000 * SECOND),
        ("2026-01-01T10:00:00+01:00", 1767258000 * SECOND),
        ("2026-01-01T09:00:00.5Z", 1767258000 * SECOND + SECOND // 2),
        ("2026-01-01Z", 1767225600 * SECOND),
        ("2026-01-01+01:00", 1767222000 * SECOND),
    ],
)
def test_a_timestamp_is_a_date_or_a_number(text, timestamp):
    assert until(text) == timestamp


@pytest.mark.parametrize("text", ["2026-01-01", "2026-01-01T09:00", "2026-01-01T09:00:00"])
def test_a_date_without_a_zone_is_local(text, monkeypatch):
    monkeypatch.setenv("TZ", "Etc/GMT-3")
    time.tzset()
    try:
        wanted = 1767225600 + (9 * 3600 if "T" in text else 0) - 3 * 3600
        assert until(text) == wanted * SECOND
    finally:
        monkeypatch.undo()
        time.tzset()


def test_labels():
    found = parse_filters(["label=a", "label=b=c=d", "label!=e", "label!=f=g"])
    assert found == Filters(labels=(("a", None), ("b", "c=d")), without=(("e", None), ("f", "g")))
    assert not parse_filters([])


@pytest.mark.parametrize(
    "texts",
    [["until"], ["until="], ["until=soon"], ["until=1x"], ["until=1h", "until=2h"], ["name=a"],
     ["until=2026-13-01"]],
)  # fmt: skip
def test_others_are_refused(texts):
    with pytest.raises(click.UsageError):
        parse_filters(texts)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512", 512), ("1k", 1024), ("10GB", 10 << 30), ("1.5 MiB", 3 << 19), ("2b", 2)],
)
def test_sizes(text, size):
    assert parse_size(text, "--size") == size


@pytest.mark.parametrize("text", ["", "-1", "10x", "GB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(click.UsageError):
        parse_size(text, "--size")
