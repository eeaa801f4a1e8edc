"""Layers packed by every codec, those of plugins among them, and what is recorded of it."""

from __future__ import annotations

import contextlib
import os
import zlib

import pytest

from ocitool.drivers.conformance.layers import file as member
from ocitool.errors import FormatError, LayerError
from ocitool.image.compress import Compression, recompress
from ocitool.image.image_fs import LayeredTree
from ocitool.layer.compression.toc import contents
from ocitool.oci import mediatypes as types
from ocitool.oci.digest import Digest
from tests.fixtures.stores import put_image
from tests.unit.layer.tars import file, tar

DATA = b"content " * 100_000


def plain(store, layer):
    with contextlib.closing(store.layers.open(layer)) as stream:
        return stream.read()


@pytest.mark.parametrize(
    ("compression", "recorded"),
    [("none", "none:0"), ("gzip", "gzip:3"), ("gzip:6", "gzip:6"), ("zstd:2", "zstd:2")],
)
def test_a_layer_s_codec_and_level_are_recorded(store, compression, recorded):
    layer = store.layers.pack(lambda sink: sink(DATA), compression)
    assert layer.diff_id == Digest.of(DATA)
    assert plain(store, layer) == DATA
    rows = store.database.rows("SELECT digest, diff, codec FROM packed")
    assert rows == [(str(layer.blob.digest), str(layer.diff_id), recorded)]


def test_a_level_that_there_is_not_leaves_nothing(store):
    with pytest.raises(LayerError, match="invalid compression level 20 for zstd"):
        store.layers.pack(lambda sink: sink(DATA), "zstd:20")
    assert list(store.blobs.all()) == []


@pytest.mark.usefixtures("zlib_codec")
def test_a_plugin_s_codec_packs_and_unpacks_layers(store):
    layer = store.layers.pack(lambda sink: sink(DATA), "zlib:9")
    assert layer.blob.media_type == f"{types.OCI_LAYER}+zlib"
    assert zlib.decompress(store.blobs.read(layer.blob)) == DATA
    assert plain(store, layer) == DATA


@pytest.mark.slow
@pytest.mark.usefixtures("zlib_codec")
def test_a_push_compresses_with_a_plugin_s_codec(store):
    image = put_image(store, "docker.io/library/app:1", [member("f", DATA)])
    made = recompress(store, image, Compression.parse("zlib:9"))
    (layer,) = made.layers
    assert layer.blob.media_type == f"{types.OCI_LAYER}+zlib"
    assert plain(store, layer) == plain(store, image.layers[0])
    assert recompress(store, made, Compression.parse("zlib")) is made
    with pytest.raises(FormatError) as caught:
        Compression.parse("brotli")
    assert caught.value.hint == "supported: gzip, zstd, estargz, zlib, uncompressed"


@pytest.mark.slow
def test_an_estargz_layer_is_unpacked_and_says_what_verifies_its_table(unpacking):
    data = tar(file("f", b"content", uid=os.geteuid(), gid=os.getegid()))
    layer = unpacking.layers.pack(lambda sink: sink(data), "estargz")
    assert layer.blob.media_type == types.OCI_LAYER_GZIP
    path = unpacking.blobs.path(layer.blob.digest)
    with open(path, "rb") as blob:
        found = contents(layer.blob, lambda at, size: os.pread(blob.fileno(), size, at))
    assert [file.entry.path for file in found] == ["f", ".no.prefetch.landmark"]
    assert unpacking.layers.ensure([layer])
    assert LayeredTree(unpacking.layers, [layer]).read("f") == b"content"
