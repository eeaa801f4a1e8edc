"""Sizes, durations and timestamps as people read them."""

from __future__ import annotations

import time

import pytest

from ocitool.cli.output import units
from ocitool.errors import FormatError
from ocitool.oci import timestamps

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("size", "precision", "text"),
    [
        (0, 4, "0B"),
        (1, 4, "1B"),
        (999, 4, "999B"),
        (1000, 4, "1kB"),
        (1024, 4, "1.024kB"),
        (13_256, 3, "13.3kB"),
        (1_984_123, 3, "1.98MB"),
        (1_984_123, 4, "1.984MB"),
        (198_900_000, 4, "198.9MB"),
        (1_000_000, 4, "1MB"),
        (1_048_576, 4, "1.049MB"),
        (3.42 * 1000**3, 4, "3.42GB"),
        (5.372 * 1000**4, 4, "5.372TB"),
        (2.22 * 1000**5, 4, "2.22PB"),
        (999_960, 3, "1MB"),
        (999_960, 4, "1MB"),
        (999_500, 4, "999.5kB"),
        (5 * 1000**9, 4, "5000YB"),
    ],
)
def test_human_size(size: float, precision: int, text: str) -> None:
    assert units.human_size(size, precision) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (0.45, "Less than a second"),
        (1, "1 second"),
        (45, "45 seconds"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (3 * MINUTE, "3 minutes"),
        (35 * MINUTE + 40, "35 minutes"),
        (HOUR, "About an hour"),
        (HOUR + 29 * MINUTE, "About an hour"),
        (HOUR + 30 * MINUTE, "2 hours"),
        (3 * HOUR + 29 * MINUTE, "3 hours"),
        (24 * HOUR, "24 hours"),
        (36 * HOUR, "36 hours"),
        (2 * DAY, "2 days"),
        (7 * DAY, "7 days"),
        (13 * DAY + 5 * HOUR, "13 days"),
        (14 * DAY, "2 weeks"),
        (15 * DAY + 12 * HOUR, "2 weeks"),
        (22 * DAY, "3 weeks"),
        (59 * DAY, "8 weeks"),
        (61 * DAY, "2 months"),
        (12 * 30 * DAY, "12 months"),
        (23 * 31 * DAY, "23 months"),
        (2 * 365 * DAY, "2 years"),
        (3.7 * 365 * DAY, "3 years"),
    ],
)
def test_human_duration(seconds: float, text: str) -> None:
    assert units.human_duration(seconds) == text


def test_ago_counts_from_the_given_now() -> None:
    assert units.ago(0, now=125 * units.SECOND) == "2 minutes ago"
    assert units.ago(time.time_ns()) == "Less than a second ago"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4s"), (99.94, "99.9s"), (100, "1m40s"), (125, "2m05s"), (3725, "1h02m")],
)
def test_clock(seconds: float, text: str) -> None:
    assert units.clock(seconds) == text


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:30:00.5-00:30", units.SECOND // 2),
        ("1970-01-01t00:00:01z", units.SECOND),
        ("2026-11-23T04:23:18.867591697Z", 1795407798867591697),
        ("2016-12-31T23:59:60Z", 1483228800 * units.SECOND),
        ("0001-01-01T00:00:00Z", -62135596800 * units.SECOND),
    ],
)
def test_parse_time(text: str, timestamp: int) -> None:
    assert timestamps.parse_time(text) == timestamp


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-01-01",
        "2024-13-01T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00+25:00",
        "2024-01-01T00:00:00\n",
    ],
)
def test_parse_time_refuses(text: str) -> None:
    with pytest.raises(FormatError, match="invalid RFC 3339 time"):
        timestamps.parse_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "1970-01-01T00:00:00Z",
        "2026-11-23T04:23:18.867591697Z",
        "2024-05-01T10:20:30.5Z",
        "0001-01-01T00:00:00Z",
    ],
)
def test_format_time_is_the_inverse(text: str) -> None:
    assert units.format_time(timestamps.parse_time(text)) == text


def test_local_time_is_dockers_created_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert units.local_time(1714558830 * units.SECOND) == "2024-05-01 10:20:30 +0000 UTC"
