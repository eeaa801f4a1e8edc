"""The reference grammar, corner by corner, as distribution/reference has it."""

from __future__ import annotations

import pytest

from ocitool.errors import BadReference, FormatError
from ocitool.oci.digest import Digest
from ocitool.oci.reference import Reference, is_image_id

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("docker.io/debian", "docker.io/library/debian:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest"),
        ("index.docker.io/me/app:1", "docker.io/me/app:1"),
        ("docker.io/library/debian", "docker.io/library/debian:latest"),
        ("docker.io", "docker.io/library/docker.io:latest"),
        ("me/app", "docker.io/me/app:latest"),
        ("a/b/c", "docker.io/a/b/c:latest"),
        ("quay.io/app", "quay.io/app:latest"),
        ("quay.io/library/app", "quay.io/library/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("host:5000/app:1", "host:5000/app:1"),
        ("Host/app", "Host/app:latest"),
        ("HOST.example/app", "HOST.example/app:latest"),
        ("[::1]/app", "[::1]/app:latest"),
        ("[2001:db8::1]:5000/app:1", "[2001:db8::1]:5000/app:1"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
        ("a.b/c__d/e-f.g_h/i---j", "a.b/c__d/e-f.g_h/i---j:latest"),
        ("app:A_b.c-9", "docker.io/library/app:A_b.c-9"),
        ("app:" + "t" * 128, "docker.io/library/app:" + "t" * 128),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}"),
        (f"host:1/app:2@{DIGEST}", f"host:1/app:2@{DIGEST}"),
        (f"{HEX}:tag", f"docker.io/library/{HEX}:tag"),
        (HEX[:63], f"docker.io/library/{HEX[:63]}:latest"),
    ],
)
def test_the_complete_form(text, whole):
    reference = Reference.parse(text)
    assert str(reference) == whole
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "@", "/", ":tag", f"@{DIGEST}", "a:", "a@", "a//b", "/a", "a/", "a b", "a\n"),
        *("A", "me/App", "localhost/A", "-a", "a-", "_a", "a_", ".a", "a.", "a..b", "a._b"),
        *("a___b", "a:-x", "a:.x", "a:" + "t" * 129, "a:b:c", "a:tag\n", "http://host/app"),
        *(
            "host:port/app",
            "-host.x/app",
            "host-.x/app",
            "host..x/app",
            "[::1/app",
            "[fe80::1%0]/a",
        ),
        *("[::1]", "[]/a", HEX, f"a@{HEX}", f"a@sha256:{HEX[1:]}", f"a@sha256:{HEX.upper()}"),
        *(f"a@{DIGEST}@{DIGEST}", f"a@{DIGEST}:tag", "a@sha256:" + "g" * 64, "é", "a/" + "b" * 254),
    ],
)
def test_what_is_no_reference(text):
    with pytest.raises(FormatError):
        Reference.parse(text)


@pytest.mark.parametrize("text", [HEX, DIGEST, "sha256:a", f"sha256:{HEX[:12]}"])
def test_an_image_id_is_no_reference(text):
    """Docker asks Docker Hub for the tag ``a`` of a repository ``sha256``."""
    with pytest.raises(BadReference, match="it is an image ID"):
        Reference.parse(text)
    assert is_image_id(text)


@pytest.mark.parametrize("text", [HEX[:12], "sha256:", "sha256:x", "sha256", "x/sha256:a", ""])
def test_what_may_be_a_reference_is_not_only_an_image_id(text):
    assert not is_image_id(text)


@pytest.mark.parametrize("scheme", ["http://", "https://", "docker://", "oci-archive://"])
def test_a_scheme_is_explained(scheme):
    with pytest.raises(BadReference, match="invalid reference format") as caught:
        Reference.parse(f"{scheme}host/app")
    assert caught.value.hint == f"leave out {scheme}: host/app"


@pytest.mark.parametrize("text", [f"a@{DIGEST}", f"a:1@{DIGEST}", "sha256", "sha256:x", DIGEST])
def test_what_cannot_be_a_new_name(text):
    with pytest.raises(BadReference):
        Reference.parse_new(text)


def test_what_can_be_a_new_name():
    for text in ("a", "host:1/a:b", "x/sha256:a", HEX[:12]):
        assert Reference.parse_new(text) == Reference.parse(text)


def test_a_path_has_at_most_255_characters_whatever_the_domain():
    path = "a/" + "b" * 253
    assert Reference.parse(f"registry.example:5000/{path}").path == path
    with pytest.raises(BadReference, match="255"):
        Reference.parse(f"registry.example:5000/{path}b")


def test_upper_case_is_explained():
    with pytest.raises(BadReference) as caught:
        Reference.parse("me/App")
    assert "lower-case" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "familiar"),
    [
        ("docker.io/library/debian:latest", "debian:latest"),
        ("docker.io/me/app:1", "me/app:1"),
        ("docker.io/library/a/b:1", "library/a/b:1"),
        ("docker.io/localhost/app:1", "docker.io/localhost/app:1"),
        ("docker.io/a.b/app:1", "docker.io/a.b/app:1"),
        ("quay.io/library/app:1", "quay.io/library/app:1"),
        (f"app@{DIGEST}", f"app@{DIGEST}"),
        ("docker.io/library/sha256:a", "docker.io/library/sha256:a"),
    ],
)
def test_the_familiar_form_reads_back_as_the_same(text, familiar):
    reference = Reference.parse(text)
    assert reference.familiar == familiar
    assert Reference.parse(familiar) == reference


def test_the_digest_decides_and_the_tag_is_kept():
    both = Reference.parse(f"app:1@{DIGEST}")
    assert (both.tag, both.target) == ("1", DIGEST)
    assert Reference.parse(f"app@{DIGEST}").tag == ""
    assert Reference.parse("app:1").target == "1"


def test_changing_tag_and_digest():
    app = Reference.parse("quay.io/me/app:1")
    assert str(app.at(Digest.parse(DIGEST))) == f"quay.io/me/app:1@{DIGEST}"
    assert str(app.at(Digest.parse(DIGEST)).tagged("2")) == "quay.io/me/app:2"
    assert app.repository == "quay.io/me/app"
