"""Whatever the text: parsers raise format errors only, and what they read they write again."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import FormatError
from ocitool.oci import mediatypes as types
from ocitool.oci.config import ImageConfig
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import dump, parse_any
from ocitool.oci.platform import Platform, best
from ocitool.oci.reference import Reference

DIGEST = "sha256:" + "ab" * 32
# Text that comes near the grammars: pieces of them, in any order.
PIECES = ["a", "b-c", "A", "localhost", "docker.io", "library", "x.y", "[::1]", "0", ":", "/", "@",
          ".", "_", "__", "-", DIGEST, "ab" * 32, "\n", "é"]  # fmt: skip
NAMES = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
LIKELY = JSON | st.sampled_from(
    [2, "layers", DIGEST, types.OCI_INDEX, types.OCI_MANIFEST, "linux", [DIGEST], {}, []]
)
DESCRIPTOR = st.dictionaries(
    st.sampled_from(["mediaType", "digest", "size", "data", "platform", "urls", "x"]), LIKELY
)
DOCUMENT = st.dictionaries(
    st.sampled_from(
        [
            *("schemaVersion", "mediaType", "config", "layers", "manifests", "annotations"),
            *("architecture", "os", "rootfs", "history", "variant", "created", "x"),
        ]
    ),
    LIKELY | DESCRIPTOR | st.lists(DESCRIPTOR, max_size=2),
)


@given(NAMES | st.text(max_size=20))
def test_references(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except FormatError:
        return
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference


@given(NAMES | st.text(max_size=20) | st.from_regex(r"[a-z0-9+._-]*:[a-zA-Z0-9=_-]*"))
def test_digests(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except FormatError:
        return
    assert str(digest) == text
    assert not {"/", "\0", "."} & set(digest.encoded)


@given(st.text(max_size=12) | NAMES)
def test_platforms(text: str) -> None:
    try:
        platform = Platform.parse(text)
    except FormatError:
        return
    assert Platform.parse(str(platform)) == platform
    assert platform in platform.runs()
    assert best(platform, platform.runs()) == 0


@given(st.binary(max_size=100) | DOCUMENT.map(json.dumps).map(str.encode))
def test_documents(raw: bytes) -> None:
    for said in ("", types.OCI_MANIFEST, types.OCI_INDEX):
        with suppress(FormatError):
            parsed = parse_any(raw, said)
            assert parsed.raw == raw
            assert parse_any(raw, parsed.media_type) == parsed


@given(st.binary(max_size=100) | DOCUMENT.map(json.dumps).map(str.encode))
def test_configs(raw: bytes) -> None:
    with suppress(FormatError):
        config = ImageConfig.parse(raw)
        once = config.dump()
        assert ImageConfig.parse(once).dump() == once


@given(
    st.dictionaries(st.sampled_from(["User", "Env", "Cmd", "Labels", "Madeup", "Volumes"]), JSON),
    st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda n: n not in ("os",)), JSON),
)
def test_what_we_do_not_know_survives(run: dict[str, object], others: dict[str, object]) -> None:
    fields = {
        **{f"x-{name}": value for name, value in others.items()},
        "architecture": "amd64",
        "os": "linux",
        "config": {f"x-{name}": value for name, value in run.items()},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"x": value} for value in others.values()],
    }
    assert json.loads(ImageConfig.parse(dump(fields)).dump()) == json.loads(json.dumps(fields))


@given(st.dictionaries(st.text(st.characters(), max_size=5), JSON))
def test_dumped_documents_read_back(fields: dict[str, object]) -> None:
    assert json.loads(dump(fields)) == fields
