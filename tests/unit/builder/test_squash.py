"""Layers made of an image's new layers: squashed into one, and with one time for all files."""

from __future__ import annotations

import io
import tarfile

import pytest

from ocitool.builder.commit.squash import retimed, squashed
from ocitool.builder.solver.cache import LocalCache
from ocitool.image.rootfs_tar import export_tar
from ocitool.image.store_content import local_image
from tests.unit.builder.conftest import scratch

LINES = ("COPY d /d/", "COPY f run.sh /bin/", "COPY --chmod=700 d /e/", 'CMD ["run.sh"]')
EPOCH = 1_000_000_000


def files_of(project, name):
    """Return the root file system of an image, as a tar."""
    out = io.BytesIO()
    export_tar(local_image(project.store, name), project.store, out.write)
    return out.getvalue()


@pytest.fixture
def changed(sources):
    """A base image, and layers that replace, remove and link what it has."""
    store = sources.store
    base = {
        "keep": "k\n", "gone": "g\n", "dir/x": "x\n", "dir/y": "y\n", "link": {"link": "keep"},
        "file-to-dir": "f\n", "dir-to-file/in": "i\n", "same": "s\n", "swap": "a\n", "one": "1\n",
        "two": {"hardlink": "one"},
    }  # fmt: skip
    sources.image("base:1", base)
    sources.image(
        "top:1",
        base,
        {".wh.gone": "", "dir/.wh.x": "", "dir/new": "n\n", "file-to-dir/in": "i\n",
         "dir-to-file": "f\n", "three": {"hardlink": "one"}, "later": "l\n", "swap": "b\n"},
        {".wh.later": "", "dir/.wh..wh..opq": "", "dir/only": "o\n", "back": "b\n"},
    )  # fmt: skip
    return store


@pytest.mark.slow
def test_the_new_layers_become_one(sources):
    plain = sources.build(scratch(*LINES), "plain:1")
    squashed = sources.build(scratch(*LINES), "squashed:1", squash=True)
    assert (len(plain.tars), len(squashed.tars)) == (3, 1)
    assert files_of(sources, "squashed:1") == files_of(sources, "plain:1")
    history = [(each.get("created_by"), each.get("empty_layer")) for each in squashed.history]
    assert all(empty for _, empty in history[:-1]) and history[-1] == (None, None)
    assert squashed.history[-1]["comment"] == "squashed 3 layers"
    assert [each["created_by"] for each in squashed.history[:-1]] == [
        each["created_by"] for each in plain.history
    ]


def test_a_second_build_has_the_same_digest(sources, monkeypatch):
    first = sources.build(scratch(*LINES), squash=True)
    monkeypatch.setattr("ocitool.store.layers.Layers.pack", None)  # no layer is made
    second = sources.build(scratch(*LINES), squash=True)
    assert first.digest == second.digest and second.executed == []


@pytest.mark.slow
def test_the_base_stays_and_with_all_it_is_squashed_too(sources):
    sources.image("base:1", {"base": "b\n", "d/a": "older\n"}, {"second": "s\n"})
    dockerfile = scratch(*LINES).replace("scratch", "base:1")
    plain = sources.build(dockerfile, "plain:1")
    new = sources.build(dockerfile, "new:1", squash=True)
    everything = sources.build(dockerfile, "all:1", squash_all=True)
    assert [len(each.tars) for each in (plain, new, everything)] == [5, 3, 1]
    assert new.tars[:2] == plain.tars[:2]
    assert files_of(sources, "plain:1") == files_of(sources, "new:1") == files_of(sources, "all:1")
    assert [each.get("empty_layer", False) for each in everything.history[-2:]] == [True, False]


@pytest.mark.slow
def test_removed_replaced_and_linked_files(sources, changed):
    whole = files_of(sources, "top:1")
    image = local_image(changed, "top:1")
    layers = squashed(changed, image.layers, 1, cache=LocalCache(changed), created="")
    assert len(layers) == 2 and layers[0] == image.layers[0]
    tar = tarfile.open(fileobj=io.BytesIO(plain(changed, layers[1])))
    names = tar.getnames()
    assert {".wh.gone", "dir/.wh.x", "dir/.wh.y", "dir/only", "back", "dir-to-file"} <= {*names}
    assert "later" not in str(names) and "keep" not in names and "same" not in names
    # A link to a file of the base: with the file itself, of which the link is made.
    assert {"one", "three"} <= {*names} and "two" not in names
    put_squashed(sources, layers)
    assert files_of(sources, "squashed:1") == whole


@pytest.mark.slow
def test_whiteouts_and_links_keep_their_meaning_with_another_time(sources, changed):
    whole = files_of(sources, "top:1")
    image = local_image(changed, "top:1")
    layers = retimed(changed, image.layers, 1, EPOCH, cache=LocalCache(changed), created="")
    assert layers[0] == image.layers[0] and len(layers) == 3
    assert {member.mtime for each in layers[1:] for member in members(plain(changed, each))} == {
        EPOCH
    }
    put_squashed(sources, layers)
    before, after = members(whole), members(files_of(sources, "squashed:1"))
    assert [undated(each) for each in before] == [undated(each) for each in after]


def members(tar):
    return tarfile.open(fileobj=io.BytesIO(tar)).getmembers()


def undated(member):
    return member.name, member.type, member.mode, member.size, member.linkname


def plain(store, layer):
    """Return the plain tar of a layer."""
    stream = store.layers.open(layer)
    try:
        return b"".join(iter(lambda: stream.read(1 << 20), b""))
    finally:
        stream.close()


def put_squashed(sources, layers):
    """Store an image of *layers* under the name squashed:1."""
    from ocitool.oci.config import ImageConfig
    from ocitool.oci.manifest import Manifest, describe
    from ocitool.oci.mediatypes import OCI_CONFIG
    from ocitool.oci.platform import this_platform

    store = sources.store
    raw = ImageConfig(
        platform=this_platform(), diff_ids=tuple(each.diff_id for each in layers)
    ).dump()
    store.blobs.put(raw, store.lease())
    manifest = Manifest.new(describe(raw, OCI_CONFIG), [each.blob for each in layers])
    store.blobs.put(manifest.raw, store.lease())
    store.refs.set("docker.io/library/squashed:1", manifest.descriptor)


def test_one_layer_is_squashed_already(sources):
    plain = sources.build(scratch("COPY f /"))
    assert sources.build(scratch("COPY f /"), squash=True).digest == plain.digest


@pytest.mark.slow
def test_a_timestamp_is_that_of_all_that_is_new(sources):
    sources.image("base:1", {"base": {"text": "b\n", "mtime": 77}}, created="2001-01-01T00:00:00Z")
    dockerfile = scratch(*LINES).replace("scratch", "base:1")
    plain = sources.build(dockerfile)
    built = sources.build(dockerfile, timestamp=EPOCH)
    times = [{member.mtime for member in layer} for layer in built.layers]
    assert times[1:] == [{EPOCH}] * 3 and EPOCH not in times[0]
    assert built.document["created"] == "2001-09-09T01:46:40Z"
    assert {each["created"] for each in built.history[-4:]} == {"2001-09-09T01:46:40Z"}
    assert built.tree == plain.tree
    again = sources.build(dockerfile, timestamp=EPOCH)
    assert again.digest == built.digest and again.executed == []
    fresh = sources.build(dockerfile, timestamp=EPOCH, no_cache=True)
    assert fresh.digest == built.digest and fresh.executed


def test_a_timestamp_later_than_the_files(sources):
    late = 4_000_000_000
    built = sources.build(scratch(*LINES), timestamp=late, squash=True)
    assert [{member.mtime for member in layer} for layer in built.layers] == [{late}]
