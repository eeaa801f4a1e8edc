"""What is announced as too large, or has too many parts, is refused before anything is fetched."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ocitool.drivers.conformance.layers import file, tar
from ocitool.errors import BadManifest
from ocitool.image.archive.archive import load
from ocitool.image.copy import copy
from ocitool.image.image import image_of
from ocitool.image.store_content import StoreSink
from ocitool.oci import limits
from ocitool.oci.config import ImageConfig
from ocitool.oci.digest import Digest
from ocitool.oci.manifest import MANIFEST_LIMIT, Descriptor, Index, Manifest
from ocitool.oci.mediatypes import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from ocitool.oci.platform import this_platform

NAME = "example.org/app:1"


class Offered:
    """A source of documents alone, which counts what is asked of it."""

    def __init__(self, root, documents):
        self.root = root
        self._documents = documents
        self.asked = []

    def resolve(self):
        return self.root

    def fetch(self, descriptor):
        self.asked.append(descriptor.digest)
        return self._documents[descriptor.digest]

    def open(self, descriptor):
        raise AssertionError("a blob was asked for")


def part(media_type, size, name="part"):
    return Descriptor(media_type=media_type, digest=Digest.of(name.encode()), size=size)


def offered(document, *others):
    documents = {each.descriptor.digest: each.raw for each in (document, *others)}
    return Offered(document.descriptor, documents)


def manifest(config=2, layers=1):
    blobs = [part(OCI_LAYER, 10, f"layer {at}") for at in range(layers)]
    return Manifest.new(part(OCI_CONFIG, config, "config"), blobs)


def refused(source, store, *said, **how):
    with pytest.raises(BadManifest) as caught:
        copy(source, StoreSink(store, NAME), name=NAME, **how)
    assert caught.value.where == NAME
    for each in said:
        assert str(each) in str(caught.value)


def test_a_config_that_is_too_large(store):
    source = offered(manifest(config=limits.CONFIG + 1))
    refused(source, store, Digest.of(b"config"), limits.CONFIG + 1, limits.CONFIG)
    with pytest.raises(BadManifest, match="the limit is"):
        assert image_of(source).config


def test_too_many_layers(store):
    document = manifest(layers=limits.LAYERS + 1)
    refused(offered(document), store, document.descriptor.digest, "501 layers", "limit is 500")
    with pytest.raises(BadManifest, match="501 layers"):
        assert image_of(offered(document)).layers


def test_a_manifest_that_is_too_large_is_not_asked_for(store):
    root = part(OCI_MANIFEST, MANIFEST_LIMIT + 1)
    source = Offered(root, {})
    refused(source, store, root.digest, MANIFEST_LIMIT + 1, MANIFEST_LIMIT)
    with pytest.raises(BadManifest):
        image_of(source)
    assert source.asked == []


@pytest.mark.parametrize("how", [{}, {"all_platforms": True}])
def test_a_manifest_that_is_too_large_in_an_index_is_not_asked_for(store, how):
    child = replace(part(OCI_MANIFEST, 1 << 40), platform=this_platform())
    source = offered(Index.new([child]))
    refused(source, store, child.digest, 1 << 40, **how)
    assert source.asked == [source.root.digest]


def test_an_index_of_too_many_manifests(store):
    children = [part(OCI_MANIFEST, 10, str(at)) for at in range(limits.MANIFESTS + 1)]
    source = offered(Index.new(children))
    refused(source, store, "1001 manifests", all_platforms=True)
    assert source.asked == [source.root.digest]


def test_indexes_of_indexes_of_too_many_manifests(store, monkeypatch):
    monkeypatch.setattr(limits, "MANIFESTS", 20)
    leaves = [Manifest.new(part(OCI_CONFIG, 2), [], annotations={"n": str(n)}) for n in range(30)]
    for leaf in leaves:
        assert leaf.config.size == 2
    below = [Index.new([each.descriptor for each in leaves[at : at + 10]]) for at in (0, 10, 20)]
    root = Index.new([each.descriptor for each in below])
    assert root.media_type == OCI_INDEX
    source = offered(root, *below, *leaves)

    class Sink(StoreSink):
        def put_blob(self, descriptor, open):
            return "exists"

    with pytest.raises(BadManifest, match="more than 20 manifests"):
        copy(source, Sink(store, NAME), name=NAME, all_platforms=True)
    assert len(source.asked) < 25


# -- archives ------------------------------------------------------------------------------


def archive(**files):
    return tar([file(name, data) for name, data in files.items()])


@pytest.mark.slow
def test_the_layout_of_an_archive(store):
    document = manifest(config=limits.CONFIG + 1)
    data = archive(
        **{
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            f"blobs/sha256/{document.descriptor.digest.encoded}": document.raw,
            "index.json": Index.new([document.descriptor]).raw,
        }
    )
    with pytest.raises(BadManifest, match="archive: the config"):
        load(data, into=store)


def docker(config, layers):
    images = [{"Config": "config", "RepoTags": [NAME], "Layers": layers}]
    return archive(**{"manifest.json": json.dumps(images).encode(), "config": config, "l": b""})


def test_the_config_of_a_docker_archive(store):
    data = docker(b" " * (limits.CONFIG + 1), [])
    with pytest.raises(BadManifest, match=f"{limits.CONFIG + 1} bytes, and the limit"):
        load(data, into=store)


def test_the_layers_of_a_docker_archive(store):
    config = ImageConfig(platform=this_platform(), diff_ids=()).dump()
    with pytest.raises(BadManifest, match="501 layers, and the limit is 500"):
        load(docker(config, ["l"] * 501), into=store)


@pytest.mark.slow
def test_a_file_of_a_docker_archive_is_hashed_once(store, monkeypatch):
    import hashlib

    hashed = []
    whole = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: hashed.append(1) or whole(*a))
    empty = Digest.of(b"")
    config = ImageConfig(platform=this_platform(), diff_ids=(empty,) * 40).dump()
    (loaded,) = load(docker(config, ["l"] * 40), into=store)
    assert loaded.name == NAME
    assert len(hashed) < 10


@pytest.mark.slow
def test_what_is_within_the_limits_is_loaded(store):
    config = ImageConfig(platform=this_platform(), diff_ids=()).dump()
    assert load(docker(config, []), into=store) == ((NAME, Digest.of(config)),)
