"""Images whose layers are brought into another form before they are pushed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ocitool import Settings, Store
from ocitool.drivers.conformance.layers import directory, file
from ocitool.errors import FormatError, StoreError
from ocitool.image.compress import Compression, recompress
from ocitool.image.image import Image
from ocitool.image.store_content import StoreSource
from ocitool.image.transfer import pull, push
from ocitool.layer.compression.toc import DIGEST_ANNOTATION
from ocitool.oci import mediatypes as types
from ocitool.oci.manifest import Descriptor, Manifest
from ocitool.store.maintenance.check.check import check
from ocitool.store.registry_backend import StoreBackend
from ocitool_registry.server.serve import serve
from tests.fixtures.stores import put_image, put_layer

NAME = "docker.io/library/app:1"
LOW = [directory("d"), file("d/f", b"content " * 1000)]
HIGH = [file("g", b"other " * 1000)]


@pytest.fixture
def image(store):
    """An image of two gzip layers."""
    return put_image(store, NAME, LOW, HIGH)


@pytest.fixture
def registry(tmp_path):
    """The address of a registry server."""
    with StoreBackend(str(tmp_path / "served")) as backend, serve(backend) as running:
        yield running.address


def in_form(store, image, text, progress=None):
    return recompress(store, image, Compression.parse(text), *([progress] if progress else []))


def media_types(image):
    return [layer.blob.media_type for layer in image.layers]


def tars(store, image):
    """The plain tar of each layer; reading verifies the diff ID."""
    found = []
    for layer in image.layers:
        stream = store.layers.open(layer)
        found.append(b"".join(iter(lambda stream=stream: stream.read(1 << 20), b"")))
        stream.close()
    return found


class Notices:
    def __init__(self):
        self.texts = []

    def emit(self, event):
        self.texts.append(event.text)


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        ("zstd", types.OCI_LAYER_ZSTD),
        ("zstd:19", types.OCI_LAYER_ZSTD),
        ("uncompressed", types.OCI_LAYER),
        ("gzip:9", types.OCI_LAYER_GZIP),
    ],
)
def test_layers_and_manifest_change_and_the_config_does_not(store, image, text, media_type):
    made = in_form(store, image, text)
    assert media_types(made) == [media_type, media_type]
    assert made.id == image.id
    assert made.digest != image.digest
    assert tars(store, made) == tars(store, image)
    assert not {layer.blob.digest for layer in made.layers} & {
        layer.blob.digest for layer in image.layers
    }


def test_a_form_that_the_layers_have_is_kept(store, image):
    assert in_form(store, image, "gzip") is image
    assert in_form(store, image, "gzip:3") is image  # recorded: the level they were packed at
    zstd = in_form(store, image, "zstd")
    assert in_form(store, zstd, "zstd") is zstd


def test_only_the_layers_of_another_form_are_compressed(store):
    image = put_image(store, NAME, put_layer(store, LOW, "zstd"), HIGH)
    notices = Notices()
    made = in_form(store, image, "zstd", notices)
    assert made.layers[0] == image.layers[0]
    assert notices.texts == [
        f"compressing layer {image.layers[1].diff_id.short} (zstd)",
    ]


def test_what_was_compressed_once_is_found_again(store, image):
    first = in_form(store, image, "zstd:7")
    blobs = sorted(store.blobs.all())
    notices = Notices()
    assert in_form(store, image, "zstd:7", notices).digest == first.digest
    assert notices.texts == []
    assert sorted(store.blobs.all()) == blobs


def test_estargz_adds_files_so_the_ids_change(store, image):
    made = in_form(store, image, "estargz")
    assert media_types(made) == [types.OCI_LAYER_GZIP] * 2
    assert all(DIGEST_ANNOTATION in layer.blob.annotations for layer in made.layers)
    assert made.id != image.id
    assert made.config == replace(
        image.config, diff_ids=tuple(layer.diff_id for layer in made.layers)
    )
    assert all(b"stargz.index.json" in tar for tar in tars(store, made))
    assert in_form(store, made, "estargz") is made
    assert in_form(store, made, "estargz:9") is made
    assert in_form(store, made, "gzip") is made  # every reader of gzip reads it


def test_the_manifest_keeps_what_it_says_and_gets_oci_s_types(store):
    low, high = put_layer(store, LOW), put_layer(store, HIGH, "zstd")
    image = put_image(store, NAME, low, high)
    docker = {
        **json.loads(image.manifest.raw),
        "mediaType": types.DOCKER_MANIFEST,
        "config": replace(image.manifest.config, media_type=types.DOCKER_CONFIG).to_json(),
        "layers": [
            replace(low.blob, media_type=types.DOCKER_LAYER_GZIP).to_json(),
            high.blob.to_json(),
        ],
        "annotations": {"a": "b"},
        "unknown": [1],
    }
    manifest = Manifest.parse(json.dumps(docker).encode())
    store.blobs.put(manifest.raw, store.lease())
    image = Image(StoreSource(store, manifest.descriptor), manifest.descriptor)
    made = in_form(store, image, "gzip").manifest
    fields = json.loads(made.raw)
    assert (fields["annotations"], fields["unknown"]) == ({"a": "b"}, [1])
    assert made.media_type == types.OCI_MANIFEST
    assert made.config == replace(image.manifest.config, media_type=types.OCI_CONFIG)
    assert made.layers[0] == low.blob
    assert [layer.media_type for layer in made.layers] == [types.OCI_LAYER_GZIP] * 2


def test_a_layer_that_may_not_be_distributed_is_kept(store):
    low = put_layer(store, LOW)
    foreign = replace(
        low, blob=replace(low.blob, media_type=f"{types.OCI_LAYER_NONDISTRIBUTABLE}+gzip")
    )
    image = put_image(store, NAME, foreign, HIGH)
    made = in_form(store, image, "zstd")
    assert made.layers[0] == foreign
    assert made.layers[1].blob.media_type == types.OCI_LAYER_ZSTD


def test_an_artifact_has_no_layers_to_compress(store):
    config = store.blobs.put(b"{}", store.lease())
    empty = Descriptor(media_type="application/x-chart", digest=config, size=2)
    manifest = Manifest.new(empty, [])
    store.blobs.put(manifest.raw, store.lease())
    image = Image(StoreSource(store, manifest.descriptor), manifest.descriptor)
    with pytest.raises(FormatError, match="an artifact of type 'application/x-chart'"):
        in_form(store, image, "zstd")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("brotli", "unsupported compression 'brotli'"),
        ("", "unsupported compression ''"),
        ("gzip:0", "invalid compression level 0 for gzip"),
        ("gzip:10", "invalid compression level 10 for gzip"),
        ("zstd:20", "invalid compression level 20 for zstd"),
        ("estargz:0", "invalid compression level 0 for estargz"),
        ("gzip:", "invalid compression level '' for gzip: expected a number"),
        ("gzip:-1", "invalid compression level '-1' for gzip: expected a number"),
        ("gzip:x", "invalid compression level 'x' for gzip: expected a number"),
        ("uncompressed:0", "invalid compression level '0' for uncompressed: a level cannot"),
    ],
)
def test_what_is_not_a_compression(text, message):
    with pytest.raises(FormatError, match=message):
        Compression.parse(text)


def test_an_unsupported_compression_is_refused_with_those_that_are():
    with pytest.raises(FormatError) as caught:
        Compression.parse("brotli")
    assert caught.value.hint == "supported: gzip, zstd, estargz, uncompressed"


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["zstd:2", "estargz", "uncompressed", "gzip"])
def test_what_was_pushed_compressed_is_pulled_and_whole(
    store, image, registry, tmp_path, compression
):
    target = f"{registry}/app:1"
    pushed = push(NAME, source=store, to=target, compression=compression)
    assert store.find(NAME).digest == image.digest  # the image here stays as it is
    with Store(Settings(root=str(tmp_path / "other"))) as other:
        pulled = pull(target, into=other, unpack=False)
        assert pulled.digest == pushed.digest
        assert all(Compression.parse(compression).has(layer.blob) for layer in pulled.layers)
        if compression != "estargz":
            assert tars(other, pulled) == tars(store, image)
        assert list(check(other)) == []
    assert list(check(store)) == []


def test_a_read_only_store_compresses_nothing(store, image, monkeypatch):
    monkeypatch.setattr(store.layout, "readonly", True)
    assert in_form(store, image, "gzip") is image
    with pytest.raises(StoreError):
        in_form(store, image, "zstd")
