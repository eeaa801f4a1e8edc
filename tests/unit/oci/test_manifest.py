"""Descriptors, manifests and indexes: what is read, what is refused and at which place."""

from __future__ import annotations

import base64
import json

import pytest

from ocitool.errors import BadDigest, BadManifest
from ocitool.oci import mediatypes as types
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import (
    MANIFEST_LIMIT,
    Descriptor,
    Index,
    Manifest,
    describe,
    dump,
    parse_any,
)
from ocitool.oci.platform import Platform

CONTENT = b"content"


def one(**changes):
    fields = {
        "mediaType": types.OCI_LAYER,
        "digest": str(Digest.of(CONTENT)),
        "size": len(CONTENT),
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def manifest(**changes):
    fields = {
        "schemaVersion": 2,
        "mediaType": types.OCI_MANIFEST,
        "config": one(mediaType=types.OCI_CONFIG),
        "layers": [one()],
        **changes,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def index(**changes):
    entry = one(mediaType=types.OCI_MANIFEST, platform={"os": "linux", "architecture": "arm64"})
    fields = {"schemaVersion": 2, "mediaType": types.OCI_INDEX, "manifests": [entry], **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def test_a_descriptor_keeps_all_it_was_given():
    fields = one(
        urls=["https://mirror.example/blob"],
        annotations={"a": "b"},
        data=base64.b64encode(CONTENT).decode(),
        artifactType="application/x",
        platform={"architecture": "arm", "os": "linux", "os.features": ["f"], "variant": "v6"},
        unknown={"kept": [1, None]},
    )
    assert Descriptor.from_json(fields).to_json() == fields
    assert Descriptor.from_json(fields).data == CONTENT


def test_null_counts_as_absent():
    empty = dict.fromkeys(("urls", "annotations", "data", "artifactType", "platform"))
    assert Descriptor.from_json(one(**empty)) == Descriptor.from_json(one())
    raw = manifest(annotations=None, artifactType=None, subject=None, manifests=None, layers=None)
    assert Manifest.parse(raw).layers == ()
    assert Index.parse(index(manifests=None, layers=None, config=None)).manifests == ()


def test_parameters_of_a_media_type_go():
    said = f"{types.OCI_LAYER}; charset=ISO-8859-1"
    assert Descriptor.from_json(one(mediaType=said)).media_type == types.OCI_LAYER
    assert Manifest.parse(manifest(), f"{types.OCI_MANIFEST};charset=utf-8").config.size == 7


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"size": -1}, "size"),
        ({"size": 1 << 63}, "size"),
        ({"size": 1.0}, "size"),
        ({"size": True}, "size"),
        ({"size": "7"}, "size"),
        ({"size": ...}, "size"),
        ({"digest": ...}, "digest"),
        ({"digest": 7}, "digest"),
        ({"mediaType": None}, "mediaType"),
        ({"annotations": {"a": 1}}, "annotations.a"),
        ({"annotations": []}, "annotations"),
        ({"urls": "x"}, "urls"),
        ({"urls": ["x", 1]}, "urls[1]"),
        ({"data": "!"}, "data"),
        ({"data": base64.b64encode(b"CONTENT").decode()}, "data"),
        ({"data": base64.b64encode(b"more content").decode()}, "data"),
        ({"platform": {"os": "linux"}}, "platform.architecture"),
    ],
)
def test_a_bad_descriptor_is_refused_with_its_place(changes, place):
    with pytest.raises(BadManifest) as caught:
        Manifest.parse(manifest(layers=[one(), one(**changes)]))
    assert caught.value.where == f"layers[1].{place}"


def test_a_bad_digest_is_refused_with_its_place():
    with pytest.raises(BadDigest) as caught:
        Manifest.parse(manifest(config=one(digest="sha256:1")))
    assert caught.value.where == "config.digest"


def test_empty_embedded_content():
    empty = one(digest=str(Digest.of(b"")), size=0, data="")
    assert Descriptor.from_json(empty).data == b""
    assert Descriptor.from_json(empty).to_json() == empty


def test_the_bytes_are_kept_as_they_came():
    raw = b"\n " + manifest(unknown={"z": 1, "a": 2})
    parsed = Manifest.parse(raw)
    assert parsed.raw == raw
    assert parsed.descriptor == describe(raw, types.OCI_MANIFEST)
    assert parsed.descriptor.digest == Digest.of(raw)


@pytest.mark.parametrize("parse", [Manifest.parse, Index.parse, parse_any])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"schemaVersion": 2, "schemaVersion": 2}',
        manifest().decode().encode("utf-16"),
        b"\xef\xbb\xbf" + manifest(),
        manifest()[:-1] + b', "a": "\xff"}',
        manifest()[:-1] + b', "a": NaN}',
        manifest()[:-1] + b', "a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        manifest(schemaVersion=1),
        manifest(schemaVersion=...),
        manifest(schemaVersion="2"),
        index(schemaVersion=3),
        manifest(mediaType="application/x"),
        manifest(pad="x" * MANIFEST_LIMIT),
    ],
)
def test_what_is_no_document(parse, raw):
    with pytest.raises(BadManifest):
        parse(raw)


@pytest.mark.slow
def test_a_name_that_stands_twice_is_found_among_many():
    """Looked for one by one it would take a day."""
    names = ",".join(f'"{n}":0' for n in range(300_000))
    with pytest.raises(BadManifest, match="duplicate name '299999'"):
        Manifest.parse(f'{{{names},"299999":1}}'.encode())


CONFUSED = [
    ("the header says index", Manifest.parse, manifest(), types.OCI_INDEX),
    ("the header says index, the body nothing", Manifest.parse, manifest(mediaType=...),
     types.OCI_INDEX),
    ("the header says manifest", Index.parse, index(), types.OCI_MANIFEST),
    ("any: the header says index", parse_any, manifest(), types.OCI_INDEX),
    ("any: the header says manifest", parse_any, index(), types.OCI_MANIFEST),
    ("the header says docker", Manifest.parse, manifest(), types.DOCKER_MANIFEST),
    ("the body says index", Manifest.parse, manifest(mediaType=types.OCI_INDEX), ""),
    ("the body says manifest", Index.parse, index(mediaType=types.OCI_MANIFEST), ""),
    ("manifest with manifests", parse_any, manifest(manifests=[]), types.OCI_MANIFEST),
    ("index with layers", parse_any, index(layers=[]), types.OCI_INDEX),
    ("index with a config", parse_any, index(config={}), types.OCI_INDEX),
    ("both, untyped", parse_any, manifest(manifests=[], mediaType=...), ""),
    ("manifest of schema 1", parse_any, manifest(fsLayers=[]), ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("parse", "raw", "said"), [case[1:] for case in CONFUSED], ids=[case[0] for case in CONFUSED]
)
def test_a_document_means_one_thing_only(parse, raw, said):
    """CVE-2021-41190."""
    with pytest.raises(BadManifest):
        parse(raw, said)


@pytest.mark.parametrize(
    ("raw", "said", "kind", "media_type"),
    [
        (manifest(), "", Manifest, types.OCI_MANIFEST),
        (manifest(), "text/plain", Manifest, types.OCI_MANIFEST),
        (manifest(mediaType=...), types.DOCKER_MANIFEST, Manifest, types.DOCKER_MANIFEST),
        (manifest(mediaType=...), "", Manifest, types.OCI_MANIFEST),
        (manifest(mediaType=types.DOCKER_MANIFEST), "", Manifest, types.DOCKER_MANIFEST),
        (index(), "application/json", Index, types.OCI_INDEX),
        (index(mediaType=...), "", Index, types.OCI_INDEX),
        (index(mediaType=...), types.DOCKER_LIST, Index, types.DOCKER_LIST),
        (index(mediaType=types.DOCKER_LIST), types.DOCKER_LIST, Index, types.DOCKER_LIST),
    ],
)
def test_what_a_document_is(raw, said, kind, media_type):
    parsed = parse_any(raw, said)
    assert (type(parsed), parsed.media_type) == (kind, media_type)


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"{}", kind) for kind in sorted(types.DOCKER_SCHEMA1)] + [(b'{"schemaVersion": 1}', "")],
)
def test_schema_1_is_refused_by_name(raw, said):
    with pytest.raises(BadManifest, match="schema 1") as caught:
        parse_any(raw, said)
    assert "push the image again" in caught.value.hint


def test_written_documents_are_the_same_everywhere_and_typed():
    layer = Descriptor.from_json(one(mediaType=types.OCI_LAYER_GZIP))
    config = Descriptor.from_json(one(mediaType=types.OCI_CONFIG))
    new = Manifest.new(config, [layer], annotations={"b": "2", "a": "1"})
    assert new.raw == Manifest.new(config, [layer], annotations={"a": "1", "b": "2"}).raw
    assert json.loads(new.raw)["mediaType"] == types.OCI_MANIFEST
    listed = Index.new([new.descriptor])
    assert json.loads(listed.raw)["mediaType"] == types.OCI_INDEX
    assert json.loads(Index.new([]).raw)["manifests"] == []
    assert parse_any(listed.raw) == listed
    assert parse_any(new.raw) == new


def test_a_subject_and_platforms_are_read():
    assert Manifest.parse(manifest(subject=one())).subject == Descriptor.from_json(one())
    assert Index.parse(index()).manifests[0].platform == Platform.parse("linux/arm64")


def test_annotating_leaves_the_original_alone():
    before = Descriptor.from_json(one(annotations={"a": "1"}))
    assert before.annotated(b="2").annotations == {"a": "1", "b": "2"}
    assert before.annotations == {"a": "1"}


def test_text_that_no_encoding_has_is_escaped():
    raw = dump({"latin": "caf\udce9", "quote": '"\\', "snow": "☃"})
    assert raw == b'{"latin":"caf\\udce9","quote":"\\"\\\\","snow":"\xe2\x98\x83"}'
    assert json.loads(raw)["latin"] == "caf\udce9"
