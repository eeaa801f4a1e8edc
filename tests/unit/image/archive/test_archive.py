"""Archives: written as everybody reads them, read as anybody writes them, and never trusted."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile

import pytest

from ocitool.drivers.conformance.layers import file, tar
from ocitool.errors import OcitoolError, TooLarge
from ocitool.image.archive.archive import load
from ocitool.image.archive.save import NamedImage, save
from ocitool.image.rootfs_tar import import_tar
from ocitool.image.store_content import local_image
from ocitool.oci.config import ImageConfig
from ocitool.oci.digest import Digest
from ocitool.oci.platform import this_platform
from ocitool.store.maintenance.check.check import check
from ocitool.store.refs import name_of
from tests.fixtures.stores import files_below, put_image, put_layer

ONE, TWO = [file("one", b"1" * 5000)], [file("two", b"2")]
NAME = "docker.io/library/a:1"


def saved(*images):
    out = io.BytesIO()
    save([NamedImage(*each) for each in images], out.write)
    return out.getvalue()


def loaded(data, store):
    """Return the names of what was loaded, or IDs without one."""
    images = load(io.BytesIO(data), into=store)
    assert os.listdir(store.lease().path) == []
    assert list(check(store)) == []
    return tuple(image.name or str(image.id) for image in images)


def archive(*members):
    """Return a tar of (name, content) pairs, or of ready TarInfo objects."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                made.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                made.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


# -- ours ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_saved_is_loaded_with_the_same_digests(store, other):
    first = put_image(store, NAME, ONE, TWO)
    second = put_image(store, "", first.layers[0])
    data = saved((first, NAME), (second, ""))
    assert data == saved((first, NAME), (second, ""))
    assert loaded(data, other) == (NAME, str(second.id))
    assert {str(entry.digest): name_of(entry) for entry in other.refs.all()} == {
        str(first.digest): NAME,
        str(second.digest): "",
    }
    assert {*store.blobs.all()} <= {*other.blobs.all()}  # a driver may keep plain tars, too
    assert loaded(gzip.compress(data), other) == (NAME, str(second.id))


def test_an_archive_is_a_layout_and_dockers_in_one(store):
    image = put_image(store, NAME, ONE)
    with tarfile.open(fileobj=io.BytesIO(saved((image, NAME)))) as made:
        names = made.getnames()
        index = json.load(made.extractfile("index.json"))
        docker = json.load(made.extractfile("manifest.json"))
    assert {"oci-layout", "index.json", "manifest.json", "blobs/sha256"} <= {*names}
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "1"
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == NAME
    assert docker[0]["RepoTags"] == ["a:1"]
    assert {docker[0]["Config"], *docker[0]["Layers"]} <= {*names}


# -- docker's older form -------------------------------------------------------------------


def docker_parts(layers=(ONE, TWO), **changes):
    """Return the members of an archive as docker wrote them before it knew OCI layouts."""
    tars = [tar(members).getvalue() for members in layers]
    diff_ids = tuple(Digest.of(data) for data in tars)
    config = ImageConfig(platform=this_platform(), diff_ids=diff_ids).dump()
    name = f"{Digest.of(config).encoded}.json"
    paths = [f"{at}{'a' * 60}/layer.tar" for at in range(len(tars))]
    image = {"Config": name, "RepoTags": ["a:1", "b:2"], "Layers": paths, **changes}
    return [
        (name, config),
        *zip(paths, tars, strict=True),
        ("manifest.json", json.dumps([image]).encode()),
    ]


@pytest.mark.slow
def test_dockers_older_form_is_loaded(store):
    assert loaded(archive(*docker_parts()), store) == (NAME, "docker.io/library/b:2")
    image = local_image(store, "a:1")
    assert [layer.diff_id for layer in image.layers] == [
        Digest.of(tar(members).getvalue()) for members in (ONE, TWO)
    ]
    assert image.id == Digest.of(docker_parts()[0][1])


@pytest.mark.slow
def test_a_layer_that_is_there_twice_comes_as_a_link(store):
    parts = docker_parts((ONE, ONE))
    second = parts[2][0]
    parts[2] = link(second, f"../{parts[1][0]}")
    loaded(archive(*parts), store)
    assert len(local_image(store, "a:1").layers) == 2


@pytest.mark.slow
def test_of_a_member_that_comes_twice_the_last_counts(store):
    """As ``tar -r`` replaces a file of an archive; what a link leads to stays."""
    old, new = docker_parts(RepoTags=["old:1"]), docker_parts((TWO, ONE), RepoTags=["new:1"])
    first = new[1][0]
    outside = link(first, old[2][0])
    names = loaded(archive(*old, outside, *new), store)
    assert names == ("docker.io/library/new:1",)
    assert [layer.diff_id for layer in local_image(store, "new:1").layers] == [
        Digest.of(tar(members).getvalue()) for members in (TWO, ONE)
    ]


@pytest.mark.slow
def test_the_last_index_of_a_layout_counts(store, other):
    data = saved((put_image(store, NAME, ONE), NAME))
    wrong = archive(("index.json", b"{}"), ("manifest.json", b"[]"))[:2048]
    with pytest.raises(OcitoolError):
        loaded(wrong + bytes(1024), other)
    assert loaded(wrong + data, other) == (NAME,)


@pytest.mark.slow
def test_an_image_without_a_name_is_loaded_by_its_id(store):
    (image_id,) = loaded(archive(*docker_parts(RepoTags=None)), store)
    assert str(local_image(store, image_id).id) == image_id


@pytest.mark.parametrize(
    "changes",
    [
        {"Layers": ["gone/layer.tar", "gone"]},
        {"Config": "gone.json"},
        {"Config": "../../../../../../../../etc/passwd"},
        {"Config": "/etc/passwd"},
        {"Config": "."},
        {"Config": 1},
        {"Layers": "x"},
        {"Layers": []},
        {"Layers": ["../../../../../../etc/passwd", "../format"]},
        {"RepoTags": "a:1"},
        {"RepoTags": ["A B"]},
        {"Config": "a\0b"},
        {"Config": "\ud800"},
        {"Layers": ["\ud800", "\udfff"]},
        {"RepoTags": ["\ud800"]},
    ],
    ids=str,
)
def test_a_wrong_manifest_is_refused(store, changes):
    with pytest.raises(OcitoolError) as caught:
        load(io.BytesIO(archive(*docker_parts(**changes))), into=store)
    assert "root:" not in str(caught.value)
    assert os.listdir(store.lease().path) == []
    assert store.refs.all() == ()


@pytest.mark.parametrize("text", [b"", b"{", b"{}", b"[1]", b"[[]]", b"\xff", b"[" * 100_000])
def test_an_invalid_manifest_is_refused(store, text):
    with pytest.raises(OcitoolError):
        load(io.BytesIO(archive(("manifest.json", text))), into=store)
    with pytest.raises(OcitoolError):
        load(io.BytesIO(archive(("index.json", text))), into=store)
    assert files_below(store.layout.tmp) == []


# -- hostile -------------------------------------------------------------------------------

HOSTILE = {
    "up": [("../escaped", b"x")],
    "absolute": [("/tmp/escaped", b"x")],
    "link up": [link("l", "../../../../escaped")],
    "link out": [link("l", "/etc"), ("l/escaped", b"x")],
    "hard link out": [link("l", "../format", tarfile.LNKTYPE)],
    "link by link": [link("a", "."), link("a/b", ".."), ("a/b/escaped", b"x")],
    "twice": [("f", b"1"), ("f/g", b""), ("f", b"2")],
    "file as directory": [("f", b"1"), ("f/g", b"2")],
    "a circle": [link("index.json", "index.json")],
    "index is a directory": [("index.json/x", b"")],
    "nothing of images": [("etc/passwd", b"")],
    "device": [link("index.json", "", tarfile.CHRTYPE)],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_refused(store, store_root, members):
    store.lease()
    before = files_below(store_root)
    with pytest.raises(OcitoolError):
        load(io.BytesIO(archive(*members)), into=store)
    assert files_below(store_root) == before
    assert not os.path.exists("/tmp/escaped")
    assert os.listdir(store.lease().path) == []


@pytest.mark.parametrize("keep", [0, 1, 511, 512, 3000, -600])
def test_a_cut_archive_is_refused(store, other, keep):
    data = saved((put_image(store, NAME, ONE), NAME))
    with pytest.raises(OcitoolError):
        load(io.BytesIO(data[:keep]), into=other)
    with pytest.raises(OcitoolError):
        packed = gzip.compress(data)
        load(io.BytesIO(packed[: len(packed) * max(keep, 0) // len(data)]), into=other)
    assert other.refs.all() == ()


@pytest.mark.slow
def test_wrong_content_leaves_no_name(store, other):
    image = put_image(store, NAME, [file("f", os.urandom(3000))])
    data = bytearray(saved((image, NAME)))
    with store.blobs.open(image.layers[0].blob.digest) as blob:
        at = data.index(blob.read()[1000:1200])
    data[at] ^= 1
    with pytest.raises(OcitoolError):
        load(io.BytesIO(bytes(data)), into=other)
    assert other.refs.all() == ()
    assert files_below(other.layout.tmp) == []


# -- import --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
def test_a_file_system_is_imported(store, pack):
    data = tar(ONE).getvalue()
    import_tar(io.BytesIO(pack(data)), into=store, name=NAME, message="from a tar")
    image = local_image(store, "a:1")
    assert [layer.diff_id for layer in image.layers] == [Digest.of(data)]
    assert image.config.history[0].comment == "from a tar"
    assert list(check(store)) == []


class Endless:
    """An archive with zeros behind it that never end; counts what is read."""

    def __init__(self, data):
        self._archive = io.BytesIO(data)
        self.count = 0

    def read(self, size=-1):
        assert size >= 0, "an endless stream is never read whole"
        data = self._archive.read(size) or bytes(size)
        self.count += len(data)
        return data


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"", tar(ONE).getvalue()], ids=["zeros", "archive"])
def test_an_endless_stream_is_not_read_for_ever(store, data):
    stream = Endless(data)
    with pytest.raises(TooLarge, match="more than 64 MiB follow the end of the archive") as caught:
        import_tar(stream, into=store, name=NAME)
    assert caught.value.hint and stream.count < 70 << 20
    assert (store.refs.all(), list(store.blobs.all())) == ((), [])
    assert files_below(store.layout.tmp) == []


@pytest.mark.slow
def test_padding_of_a_large_record_is_a_part_of_the_archive(store):
    data = tar(ONE).getvalue() + bytes(3 << 20)
    import_tar(io.BytesIO(data), into=store, name=NAME)
    assert [layer.diff_id for layer in local_image(store, "a:1").layers] == [Digest.of(data)]


@pytest.mark.parametrize("data", [b"no tar" * 300, tar(ONE).getvalue()[:700]])
def test_what_is_no_file_system_is_not_imported(store, data):
    with pytest.raises(OcitoolError):
        import_tar(io.BytesIO(data), into=store, name=NAME)
    assert (store.refs.all(), list(store.blobs.all())) == ((), [])
    assert files_below(store.layout.tmp) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the input is empty"),
        (b"no tar" * 300, "invalid tar archive"),
        (gzip.compress(b"no tar", mtime=0), "invalid tar archive"),
        (lzma.compress(tar(ONE).getvalue())[:90], "compressed data is corrupt"),
        (bz2.compress(tar(ONE).getvalue())[:40], "compressed data is corrupt"),
    ],
)
def test_what_is_handed_in_is_distinguished_from_a_tar(store, data, said):
    with pytest.raises(OcitoolError, match=said):
        load(io.BytesIO(data), into=store)
    with pytest.raises(OcitoolError, match=said):
        import_tar(io.BytesIO(data), into=store, name=NAME)
    assert (store.refs.all(), list(store.blobs.all())) == ((), [])
    assert files_below(store.layout.tmp) == []


@pytest.mark.slow
@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress])
def test_an_archive_may_be_compressed(store, other, pack):
    loaded(pack(saved((put_image(store, NAME, ONE), NAME))), other)


@pytest.mark.slow
def test_a_zstd_layer_survives_the_way(store, other):
    image = put_image(store, NAME, put_layer(store, ONE, "zstd"))
    loaded(saved((image, NAME)), other)
    assert local_image(other, "a:1").layers == image.layers
