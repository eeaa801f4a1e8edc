"""Media types: which codec a layer has, and what a layer is called."""

from __future__ import annotations

import pytest

from ocitool.errors import UnsupportedEntry
from ocitool.oci import mediatypes as types

OCI = "application/vnd.oci.image.layer"
DOCKER = "application/vnd.docker.image.rootfs"


@pytest.mark.parametrize(
    ("media_type", "codec"),
    [
        (f"{OCI}.v1.tar", "none"),
        (f"{OCI}.v1.tar+gzip", "gzip"),
        (f"{OCI}.v1.tar+zstd", "zstd"),
        (f"{OCI}.nondistributable.v1.tar", "none"),
        (f"{OCI}.nondistributable.v1.tar+gzip", "gzip"),
        (f"{OCI}.nondistributable.v1.tar+zstd", "zstd"),
        (f"{DOCKER}.diff.tar", "none"),
        (f"{DOCKER}.diff.tar.gzip", "gzip"),
        (f"{DOCKER}.diff.tar.zstd", "zstd"),
        (f"{DOCKER}.foreign.diff.tar", "none"),
        (f"{DOCKER}.foreign.diff.tar.gzip", "gzip"),
    ],
)
def test_the_codec_of_a_layer(media_type, codec):
    assert types.is_layer(media_type)
    assert types.codec_of(media_type) == codec


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        types.OCI_CONFIG,
        "application/vnd.oci.empty.v1+json",
        f"{OCI}.v1.tar+encrypted",
        f"{OCI}.v1.tar+gzip+x",
    ],
)
def test_what_is_no_layer_is_refused_by_name(media_type):
    assert not types.is_layer(media_type)
    with pytest.raises(UnsupportedEntry) as caught:
        types.codec_of(media_type)
    assert repr(media_type) in str(caught.value)


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
def test_a_layer_s_type_says_its_codec(codec):
    media_type = types.layer_type(codec)
    assert types.codec_of(media_type) == codec
    assert media_type.startswith(OCI)
    assert "nondistributable" not in media_type


@pytest.mark.parametrize(
    ("media_type", "oci"),
    [
        (types.DOCKER_LAYER, types.OCI_LAYER),
        (types.DOCKER_LAYER_GZIP, types.OCI_LAYER_GZIP),
        (types.DOCKER_LAYER_ZSTD, types.OCI_LAYER_ZSTD),
        (types.DOCKER_FOREIGN, types.OCI_LAYER_NONDISTRIBUTABLE),
        (f"{types.DOCKER_FOREIGN}.gzip", f"{types.OCI_LAYER_NONDISTRIBUTABLE}+gzip"),
        (types.OCI_LAYER_ZSTD, types.OCI_LAYER_ZSTD),
        (f"{types.OCI_LAYER}+other", f"{types.OCI_LAYER}+other"),
    ],
)
def test_docker_s_types_have_one_of_oci(media_type, oci):
    assert types.as_oci(media_type) == oci
    if types.is_layer(media_type):
        assert types.codec_of(media_type) == types.codec_of(oci)
        assert (media_type in types.NONDISTRIBUTABLE) == (oci in types.NONDISTRIBUTABLE)


@pytest.mark.parametrize(
    ("said", "bare"),
    [("a/b", "a/b"), ("a/b; charset=utf-8", "a/b"), (" a/b ;x", "a/b"), ("", "")],
)
def test_parameters_go(said, bare):
    assert types.bare(said) == bare


def test_a_client_accepts_every_kind_it_can_read():
    assert set(types.ACCEPT) == types.INDEXES | types.MANIFESTS | {"*/*"}
    assert types.ACCEPT[-1] == "*/*"
