"""Addresses: what a Location means, and which jumps are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import RegistryError
from ocitool_registry.transport.urls import (
    connect_host,
    is_loopback,
    origin,
    require_safe_target,
    resolve_location,
)


@pytest.mark.parametrize(
    ("base", "location", "want"),
    [
        ("https://r/v2/a/blobs/uploads/", "/v2/x?y", "https://r/v2/x?y"),
        ("https://r/v2/a/blobs/uploads/", "id", "https://r/v2/a/blobs/uploads/id"),
        ("https://r/v2/", "https://s.example/x", "https://s.example/x"),
        ("https://r/v2/", "//s.example/x", "https://s.example/x"),
        ("https://r:5/v2/", "r:5/v2/x", "https://r:5/v2/x"),
        ("https://r.example/v2/", "s.example/v2/x", "https://s.example/v2/x"),
        ("https://r/v2/", "http://r/v2/x", "https://r/v2/x"),
        ("https://r:8443/v2/", "http://r/v2/x?q", "https://r:8443/v2/x?q"),
        ("http://localhost:5/v2/", "http://127.0.0.1:6/x", "http://127.0.0.1:6/x"),
        ("http://10.0.0.1/v2/", "http://10.0.0.2/x", "http://10.0.0.2/x"),
    ],
)
def test_locations_are_followed(base, location, want):
    assert resolve_location(base, location) == want


@pytest.mark.parametrize(
    "target",
    [
        "http://other.example/x",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://0.0.0.0/",
        "file:///etc/passwd",
        "https:///x",
    ],
)
def test_unsafe_redirects_are_rejected(target):
    with pytest.raises(RegistryError):
        require_safe_target("https://registry.example/v2/", target)


def test_a_private_registry_cannot_redirect_to_the_metadata_service():
    with pytest.raises(RegistryError):
        require_safe_target("http://10.0.0.1/v2/", "http://169.254.169.254/")


def test_an_error_has_no_secrets():
    with pytest.raises(RegistryError) as caught:
        require_safe_target("https://u:secret@r.example/v2/", "http://o.example/x?sig=secret")
    assert "secret" not in str(caught.value)


def test_hosts():
    assert connect_host("docker.io") == "registry-1.docker.io"
    assert connect_host("ghcr.io") == "ghcr.io"
    assert [is_loopback(host) for host in ("localhost", "127.9.9.9", "::1", "10.0.0.1", "x")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert origin("https://a/x") == origin("https://a:443/y") != origin("http://a/")
    with pytest.raises(RegistryError):
        origin("https://a:99999/")


@pytest.mark.slow
@given(st.text(alphabet="ab:/?#[]@.%-1 \\") | st.text())
def test_any_location_is_a_url_or_a_registry_error(location):
    try:
        found = resolve_location("https://r.example/v2/", location)
    except RegistryError:
        return
    assert found.startswith("https://")
