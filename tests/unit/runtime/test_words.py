"""Limits, hosts and name servers as users of docker write them."""

from __future__ import annotations

import pytest

from ocitool.errors import SandboxError
from ocitool_runtime import Rlimit
from ocitool_runtime.words import parse_host, parse_server, parse_ulimits


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("nofile=100:200",), (("nofile", 100, 200),)),
        (("nofile=100",), (("nofile", 100, 100),)),
        (("core=-1",), (("core", -1, -1),)),
        (("core=0:-1",), (("core", 0, -1),)),
        (("nofile=1", "core=2", "nofile=3"), (("nofile", 3, 3), ("core", 2, 2))),
    ],
)
def test_limits(texts, expected):
    limits = tuple(Rlimit(name=name, soft=soft, hard=hard) for name, soft, hard in expected)
    assert parse_ulimits(texts) == limits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nofile", "invalid ulimit 'nofile'"),
        ("nofile=", "invalid ulimit"),
        ("nofile=a", "invalid ulimit"),
        ("nofile=1:2:3", "invalid ulimit"),
        ("nofile=-2", "invalid ulimit"),
        ("bogus=1", "invalid ulimit type: bogus"),
        ("as=1", "invalid ulimit type: as"),
        ("nofile=3:2", "3 > 2"),
        ("nofile=-1:2", "-1 > 2"),
        ("nofile=9999999999999999999", "out of range"),
    ],
)
def test_limits_that_are_refused(text, said):
    with pytest.raises(SandboxError, match=said):
        parse_ulimits((text,))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("db:10.0.0.2", "10.0.0.2\tdb"),
        ("db=10.0.0.2", "10.0.0.2\tdb"),
        ("db:::1", "::1\tdb"),
        ("db=[::1]", "::1\tdb"),
        ("db:[fe80::1]", "fe80::1\tdb"),
    ],
)
def test_hosts(text, line):
    assert parse_host(text) == line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("db", "invalid host 'db'"),
        ("db:", "invalid host"),
        (":1.2.3.4", "invalid host"),
        ("a b:1.2.3.4", "invalid host"),
        ("a\n6.6.6.6 b:1.2.3.4", "invalid host"),
        ("db:nope", "invalid IP address: 'nope'"),
        ("db:host-gateway", "host-gateway is not supported"),
    ],
)
def test_hosts_that_are_refused(text, said):
    with pytest.raises(SandboxError, match=said):
        parse_host(text)


def test_name_servers():
    assert parse_server("1.2.3.4") == "1.2.3.4"
    with pytest.raises(SandboxError, match="--dns: invalid IP address: 'nope'"):
        parse_server("nope")
