"""Platforms: spellings, and which image runs where.

The vectors are those of containerd/platforms, `Normalize` and `Only`.
"""

from __future__ import annotations

import pytest

from ocitool.errors import BadManifest, FormatError
from ocitool.oci.platform import Platform, best, this_platform

P = Platform.parse


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/AMD64/v1", "linux/amd64"),
        ("linux/amd64/1", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v2"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/armv7l", "linux/arm/v7"),
        ("linux/i386", "linux/386"),
        ("linux/i686", "linux/386"),
        ("Linux/S390X", "linux/s390x"),
        ("macOS/arm64", "darwin/arm64"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_spellings(text, normal):
    assert str(P(text)) == normal
    assert P(normal) == P(text)


@pytest.mark.parametrize(
    ("text", "version", "features", "full"),
    [
        ("windows(10.0.17763)/amd64", "10.0.17763", (), "windows(10.0.17763)/amd64"),
        ("windows(10.0+win32k+a)/arm/v6", "10.0", ("win32k", "a"), "windows(10.0+a+win32k)/arm/v6"),
        ("windows(+win32k)/amd64", "", ("win32k",), "windows(+win32k)/amd64"),
        ("macOS(1%2B2%25)/arm64", "1+2%", (), "darwin(1%2B2%25)/arm64"),
        ("linux()/amd64", "", (), "linux/amd64"),
    ],
)
def test_version_and_features_of_the_system(text, version, features, full):
    read = P(text)
    assert (read.os_version, read.os_features, read.in_full) == (version, features, full)
    assert "(" not in str(read)
    assert P(full).in_full == full


def test_a_system_alone_may_have_a_version():
    here = this_platform()
    expected = Platform.of("windows", here.architecture, here.variant, "10.0")
    assert P("windows(10.0)") == expected


def test_one_part_alone_is_completed_from_this_machine():
    here = this_platform()
    assert P("linux") == Platform.of("linux", here.architecture, here.variant)
    assert P("macos").os == "darwin"
    assert P("aarch64") == Platform.of(here.os, "arm64")
    assert P(str(here)) == here


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "linux/",
        "/amd64",
        "a/b/c/d",
        "linux/amd64 ",
        "l;s/a",
        "bogus",
        "v8",
        "amd64v2",
        "windows(10.0/amd64",
        "windows(1)x/amd64",
        "windows(1+)/amd64",
        "windows(a b)/amd64",
        "windows(%zz)/amd64",
        "amd64(1)",
        "bogus(1)",
    ],
)
def test_what_is_no_platform(text):
    with pytest.raises(FormatError):
        P(text)


@pytest.mark.parametrize("text", ["riscv64", "wasm", "ppc64le", "windows", "illumos", "x86_64"])
def test_a_word_that_is_known(text):
    assert text in (P(text).os, P(text).architecture) or text == "x86_64"


@pytest.mark.parametrize(
    ("wanted", "actual", "accepted"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/386", True),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/bogus", "linux/amd64", False),
        ("linux/arm64", "linux/arm/v7", True),
        ("linux/arm/v6", "linux/arm/v5", True),
        ("linux/arm/v5", "linux/arm/v6", False),
        ("linux/arm/v6", "linux/arm", True),  # the image does not say its variant
        ("linux/amd64/v3", "linux/amd64", True),
        ("linux/amd64", "linux/amd64/v3", False),
    ],
)
def test_which_image_is_one_for_a_platform(wanted, actual, accepted):
    assert P(wanted).accepts(P(actual)) is accepted


@pytest.mark.parametrize(
    ("wanted", "vector"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386"]),
        (
            "linux/amd64/v3",
            ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"],
        ),
        ("linux/arm/v7", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v5", ["linux/arm/v5"]),
        ("linux/arm64", ["linux/arm64", *(f"linux/arm/v{n}" for n in (8, 7, 6, 5))]),
        (
            "linux/arm64/v8.2",
            [
                *("linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64"),
                *(f"linux/arm/v{n}" for n in (8, 7, 6, 5)),
            ],
        ),
        (
            "linux/arm64/v9.1",
            [
                *("linux/arm64/v9.1", "linux/arm64/v9"),
                *(f"linux/arm64/v8.{n}" for n in (6, 5, 4, 3, 2, 1)),
                *("linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"),
            ],
        ),
        ("linux/riscv64", ["linux/riscv64"]),
        ("linux/386", ["linux/386"]),
    ],
)
def test_what_runs_where_best_first(wanted, vector):
    assert [str(one) for one in P(wanted).runs()] == vector


def test_a_level_beyond_reason_costs_nothing():
    assert len(P("linux/amd64/v99999999999").runs()) <= 3


@pytest.mark.parametrize(
    ("wanted", "offers", "index"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/amd64", ["linux/386", "linux/amd64"], 1),
        ("linux/amd64", ["linux/386"], 0),
        ("linux/amd64", ["windows/amd64", "darwin/amd64"], None),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/arm64/v8", ["linux/arm64"], 0),
        ("linux/arm64", ["linux/arm64/v8"], 0),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], 1),
        ("linux/amd64", ["unknown/unknown", "linux/amd64", "linux/amd64"], 1),
        ("linux/amd64", [], None),
    ],
)
def test_the_best_offer_and_of_equals_the_first(wanted, offers, index):
    assert best(P(wanted), [P(offer) for offer in offers]) == index


def test_entries_without_a_platform_are_passed_over():
    assert best(P("linux/amd64"), [None, P("linux/amd64")]) == 1


def test_windows_matches_on_the_build_number():
    def windows(version):
        return Platform.of("windows", "amd64", "", version)

    offers = [windows("10.0.14393.1"), windows("10.0.17763.9")]
    assert best(windows("10.0.17763.1"), offers) == 1
    assert best(windows("10.0.20348.1"), offers) is None
    assert best(P("windows/amd64"), offers) == 0


def test_features_of_the_system_are_a_subset():
    needs = Platform.of("windows", "amd64", os_features=("win32k",))
    assert best(Platform.of("windows", "amd64", os_features=("win32k", "x")), [needs]) == 0
    assert best(Platform.of("windows", "amd64", os_features=("x",)), [needs]) is None
    assert best(P("windows/amd64"), [needs]) == 0


def test_json_both_ways():
    fields = {
        "architecture": "arm",
        "os": "linux",
        "os.version": "1",
        "os.features": ["f"],
        "variant": "v6",
    }
    assert Platform.from_json(fields).to_json() == fields
    assert Platform.from_json({"os": "linux", "architecture": "x86_64", "variant": None}) == P(
        "linux/amd64"
    )


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"os": "linux"}, "platform.architecture"),
        ({"architecture": "arm"}, "platform.os"),
        ({"os": 1, "architecture": "arm"}, "platform.os"),
        ({"os": "l", "architecture": "arm", "variant": 7}, "platform.variant"),
        ({"os": "l", "architecture": "arm", "os.features": [1]}, "platform.os.features[0]"),
    ],
)
def test_bad_json_is_refused_with_its_place(fields, where):
    with pytest.raises(BadManifest) as caught:
        Platform.from_json(fields, "platform")
    assert caught.value.where == where
