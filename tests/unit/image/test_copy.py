"""Copying: the same digests everywhere, children first, and no name for what did not arrive."""

from __future__ import annotations

import os
import threading

import pytest

from ocitool import copy
from ocitool.drivers.conformance.layers import file
from ocitool.errors import DigestMismatch, ImageNotFound, NotFound, OcitoolError
from ocitool.image.store_content import StoreSink, StoreSource
from ocitool.oci.manifest import Index
from ocitool.oci.platform import Platform, this_platform
from ocitool.store.maintenance.check.check import check
from tests.fixtures.stores import files_below, put_image

LAYERS = [[file(f"f{at}", b"%d" % at * 3000)] for at in range(6)]
NAME = "docker.io/library/a:1"


class Recording(StoreSource):
    """A source that remembers what was asked of it, and may fail or wait."""

    def __init__(self, store, root):
        super().__init__(store, root)
        self.opened = []
        self.fail = None
        self.together = None

    def open(self, descriptor):
        self.opened.append(descriptor.digest)
        if self.together is not None:
            self.together.wait(60)
        if self.fail == descriptor.digest:
            raise OcitoolError("the source broke")
        return super().open(descriptor)


@pytest.mark.slow
def test_a_copy_is_the_same(store, other):
    image = put_image(store, NAME, *LAYERS)
    source = Recording(store, image.descriptor)
    done = copy(source, StoreSink(other, NAME))
    assert done.digest == image.digest
    assert sorted(map(str, other.blobs.all())) == sorted(map(str, store.blobs.all()))
    assert other.refs.get(NAME).digest == image.digest
    assert len(source.opened) == 7
    assert list(check(other)) == []
    source.opened.clear()
    copy(source, StoreSink(other, NAME))
    assert source.opened == []  # all of it was there


def test_blobs_are_copied_side_by_side(store, other):
    image = put_image(store, NAME, *LAYERS[:3])
    source = Recording(store, image.descriptor)
    copy(StoreSource(store, image.descriptor), StoreSink(other, ""))
    for layer in image.manifest.layers:  # the config stays, and the layers come again
        path = other.blobs.path(layer.digest)
        os.unlink(path)
    source.together = threading.Barrier(3)  # each waits for the others: one by one it would break
    copy(source, StoreSink(other, NAME))
    assert list(check(other)) == []


def test_a_layer_that_stands_twice_moves_once(store, other):
    image = put_image(store, NAME, LAYERS[0], LAYERS[0], LAYERS[1])
    source = Recording(store, image.descriptor)
    copy(source, StoreSink(other, NAME))
    assert len(source.opened) == len(set(source.opened)) == 3


@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_fault_leaves_no_name_and_nothing_unfinished(store, other, at):
    image = put_image(store, NAME, *LAYERS)
    source = Recording(store, image.descriptor)
    source.fail = image.manifest.layers[at].digest
    with pytest.raises(OcitoolError, match="the source broke"):
        copy(source, StoreSink(other, NAME))
    assert other.refs.all() == ()
    assert other.blobs.size(image.digest) is None
    assert files_below(other.layout.tmp) == []
    assert list(check(other)) == []
    source.fail = None
    copy(source, StoreSink(other, NAME))  # what did arrive is not sent again
    assert other.refs.get(NAME).digest == image.digest


def test_corrupt_content_leaves_no_name(store, other):
    image = put_image(store, NAME, *LAYERS)
    with open(store.blobs.path(image.layers[2].blob.digest), "r+b") as blob:
        blob.seek(15)
        blob.write(b"\xff\xff")
    with pytest.raises(DigestMismatch):
        copy(StoreSource(store, image.descriptor), StoreSink(other, NAME))
    assert other.refs.all() == ()
    assert other.blobs.size(image.layers[2].blob.digest) is None


def test_what_is_missing_is_reported(store, other):
    image = put_image(store, NAME, *LAYERS)
    store.blobs.collect(image.layers[1].blob.digest, 2**62)
    with pytest.raises(NotFound):
        copy(StoreSource(store, image.descriptor), StoreSink(other, NAME))
    assert other.refs.all() == ()


@pytest.fixture
def index(store):
    """An index of an image for this machine and one for another; returns all three."""
    from dataclasses import replace

    mine, foreign = put_image(store, "", LAYERS[0]), put_image(store, "", LAYERS[1])
    strange = Platform(os="linux", architecture="s390x")
    made = Index.new(
        [
            replace(foreign.descriptor, platform=strange),
            replace(mine.descriptor, platform=this_platform()),
        ]
    )
    store.blobs.put(made.raw, store.lease())
    return made, mine, foreign


def test_of_an_index_this_platform_is_copied(store, other, index):
    made, mine, foreign = index
    done = copy(StoreSource(store, made.descriptor), StoreSink(other, NAME))
    assert done.digest == mine.digest
    assert other.blobs.size(foreign.digest) is None
    assert other.refs.get(NAME).digest == mine.digest
    strange = Platform(os="linux", architecture="s390x")
    done = copy(StoreSource(store, made.descriptor), StoreSink(other, NAME), platform=strange)
    assert done.digest == foreign.digest
    with pytest.raises(ImageNotFound, match="no image for platform linux/riscv64") as caught:
        copy(
            StoreSource(store, made.descriptor),
            StoreSink(other, NAME),
            platform=Platform(os="linux", architecture="riscv64"),
        )
    assert "linux/s390x" in caught.value.hint


def test_all_of_an_index_is_copied_when_asked(store, other, index):
    made = index[0]
    done = copy(StoreSource(store, made.descriptor), StoreSink(other, NAME), all_platforms=True)
    assert done.digest == made.descriptor.digest
    assert sorted(map(str, other.blobs.all())) == sorted(map(str, store.blobs.all()))
    assert list(check(other)) == []


@pytest.mark.parametrize("fault", ["corrupt", "missing"])
def test_a_layer_that_does_not_arrive_is_named(store, other, fault):
    image = put_image(store, NAME, *LAYERS)
    blob = image.layers[2].blob
    path = store.blobs.path(blob.digest)
    if fault == "missing":
        os.unlink(path)
    else:
        os.chmod(path, 0o600)
        with open(path, "r+b") as file:
            file.write(b"\0\0\0")
    with pytest.raises((NotFound, DigestMismatch)) as caught:
        copy(StoreSource(store, image.descriptor), StoreSink(other, NAME), name="a:1")
    assert str(caught.value).startswith(f"layer 3 of a:1 ({blob.digest}): ")
    assert other.refs.all() == ()
