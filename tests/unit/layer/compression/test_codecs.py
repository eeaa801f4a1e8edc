"""Codecs by name, by level and by media type."""

from __future__ import annotations

import pytest

from ocitool.errors import LayerError, PluginError, UnsupportedEntry
from ocitool.layer.compression.codecs import GZIP, NONE, ZSTD, for_layer, for_type, parse
from ocitool.oci import mediatypes as types


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("gzip", (GZIP, 3)),
        ("gzip:9", (GZIP, 9)),
        ("zstd", (ZSTD, 3)),
        ("zstd:19", (ZSTD, 19)),
        ("none", (NONE, 0)),
    ],
)
def test_a_codec_and_its_level(text, wanted):
    assert parse(text) == wanted


@pytest.mark.parametrize("text", ["gzip:", "gzip:x", "gzip:-1", "gzip:²", "gzip:1000", "gzip:1:2"])
def test_what_is_no_level(text):
    with pytest.raises(LayerError, match="invalid compression level"):
        parse(text)


@pytest.mark.parametrize("text", ["", ":1", "lzma", "GZIP", "zlib"])
def test_what_is_no_codec(text):
    with pytest.raises(PluginError, match=r"unknown compression "):
        parse(text)


@pytest.mark.parametrize(
    ("media_type", "name"),
    [
        (types.OCI_LAYER, "none"),
        (types.OCI_LAYER_GZIP, "gzip"),
        (types.OCI_LAYER_ZSTD, "zstd"),
        (types.DOCKER_LAYER, "none"),
        (types.DOCKER_LAYER_GZIP, "gzip"),
        (types.DOCKER_LAYER_ZSTD, "zstd"),
    ],
)
def test_a_media_type_s_codec(media_type, name):
    assert for_type(media_type).name == name


@pytest.mark.parametrize("codec", [NONE, GZIP, ZSTD], ids=lambda codec: codec.name)
@pytest.mark.parametrize("media_type", [types.OCI_LAYER, types.DOCKER_LAYER_GZIP])
def test_the_content_of_a_layer_decides(codec, media_type):
    compressor = codec.compressor()
    head = (compressor.compress(b"name/" * 100) + compressor.flush())[:6]
    assert for_layer(media_type, head) is codec
    assert for_layer(media_type, b"") is NONE


@pytest.mark.parametrize("ending", ["+zlib", "+", "+gzip+encrypted", "x"])
def test_media_types_that_nobody_reads(ending):
    with pytest.raises(UnsupportedEntry, match="unsupported layer media type"):
        for_type(types.OCI_LAYER + ending)
