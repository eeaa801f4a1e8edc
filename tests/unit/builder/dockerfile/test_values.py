"""Values that are checked once they are expanded."""

from __future__ import annotations

import pytest

from ocitool.builder.chown_chmod import parse_chmod, parse_chown
from ocitool.builder.dockerfile.values import (
    Port,
    parse_stop_signal,
    source_kind,
)
from ocitool.errors import FormatError
from ocitool.go_values import parse_duration


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", ("80/tcp",)),
        ("80/", ("80/tcp",)),
        ("53/UDP", ("53/udp",)),
        ("1-3/sctp", ("1/sctp", "2/sctp", "3/sctp")),
        ("127.0.0.1:8080:80", ("80/tcp",)),
        ("8080:80/udp", ("80/udp",)),
        ("::80", ("80/tcp",)),
        ("0080", ("80/tcp",)),
    ],
)
def test_ports(text: str, ports: tuple[str, ...]) -> None:
    assert Port.parse(text).exposed() == ports


@pytest.mark.parametrize(
    "text", ["", "a", "65536", "-1", "3-1", "1-", "80/x", "80/tcp/udp", "x:80", "٣", "9" * 5000]
)
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(FormatError, match="invalid "):
        Port.parse(text).exposed()


@pytest.mark.parametrize(
    "text",
    ["SIGTERM", "term", "SigInt", "9", "64", "65", "999", "-1", "+9", "RTMIN+15", "SIGRTMAX-14"],
)
def test_signals_stay_as_they_are_written(text: str) -> None:
    assert parse_stop_signal(text) == text


@pytest.mark.parametrize(
    "text", ["", "0", "00", "9" * 10, "-0", "- 1", "--1", "SIGFOO", "RTMIN+16", "9 "]
)
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(FormatError, match="invalid signal"):
        parse_stop_signal(text)


@pytest.mark.parametrize(
    ("text", "file", "directory"),
    [
        ("755", 0o755, 0o755),
        ("0644", 0o644, 0o644),
        ("7777", 0o7777, 0o7777),
        ("u=rwX,go=rX", 0o644, 0o755),
        ("+x", 0o751, 0o751),
        ("a-r", 0o200, 0o200),
        ("go-rwx", 0o600, 0o600),
        ("u+s,g+s", 0o6640, 0o6640),
        ("+t,o-t", 0o1640, 0o1640),
        ("o+t", 0o640, 0o640),
        ("u+t", 0o1640, 0o1640),
        ("u+t,a=r", 0o1444, 0o1444),
        ("g=rwt", 0o1660, 0o1660),
        ("u+s,u=g", 0o4440, 0o4440),
        ("u+s,u=rw", 0o640, 0o640),
        ("o+s,+s", 0o6640, 0o6640),
        ("g=u", 0o660, 0o660),
        ("u+x,go+X", 0o740, 0o751),
        ("a-x,a+X", 0o640, 0o751),
        ("u+x,u=rX", 0o440, 0o540),
        ("o=", 0o640, 0o640),
        ("u=r+w-r", 0o240, 0o240),
    ],
)
def test_modes(text: str, file: int, directory: int) -> None:
    chmod = parse_chmod(text)
    assert oct(chmod.apply(0o100640, False)) == oct(file)
    assert oct(chmod.apply(0o40640, True)) == oct(directory)
    assert (chmod.octal is not None) == text.isdecimal()


@pytest.mark.parametrize("text", ["", "8", "10000", "u", "z+x", "u+q", "u=rw,", "0o644", "-644"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(FormatError, match="should be octal string and between 0 and 07777"):
        parse_chmod(text)


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("me", ("me", None)),
        ("me:us", ("me", "us")),
        ("1:2", ("1", "2")),
        (":us", ("0", "us")),
        ("me:", ("me", "0")),
    ],
)
def test_owners(text: str, owner: tuple[str, str | None]) -> None:
    assert parse_chown(text) == owner


@pytest.mark.parametrize("text", ["", ":", "a:b:c"])
def test_what_is_no_owner(text: str) -> None:
    with pytest.raises(FormatError, match="invalid chown"):
        parse_chown(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a", "path"),
        ("a.git", "path"),
        ("/a:b@c", "path"),
        ("http", "path"),
        ("https://h/a", "url"),
        ("HTTP://h/a.git.zip", "url"),
        ("ftp://h/a", "url"),
        ("https://h/a.git", "git"),
        ("http://h/a.git#main:sub", "git"),
        ("git://h/a", "git"),
        ("ssh://h/a", "git"),
        ("git@h:a", "git"),
    ],
)
def test_sources(text: str, kind: str) -> None:
    assert source_kind(text) == kind


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1ns", 1),
        ("1.5s", 1_500_000_000),
        (".5ms", 500_000),
        ("1h2m3s", 3_723_000_000_000),
        ("-2µs", -2_000),
        ("+1m", 60_000_000_000),
        ("1.s", 1_000_000_000),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1", "s", ".s", "1x", "1 s", "--1s", "9223372037s", "-"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(FormatError, match="time: "):
        parse_duration(text)
