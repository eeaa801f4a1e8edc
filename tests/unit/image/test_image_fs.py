"""Files looked up in layers that are not unpacked."""

from __future__ import annotations

import hashlib
import os

import pytest

from ocitool.image.image_fs import LayeredTree
from ocitool.layer.codec import CHUNK
from tests.unit.layer.holes import FORMS, sparse, whole
from tests.unit.layer.tars import file, link, tar

SIZE = 3 << 20
RUNS = [(5, b"begin"), (2 << 20, b"middle" * 100)]


@pytest.fixture(params=FORMS)
def tree(store, request):
    """A layer with sparse files of one form among others, and one above that has links to them."""
    below = (
        tar(file("before", b"before"), end=False)
        + sparse(request.param, SIZE, RUNS, b"holes")
        + sparse(request.param, 1000, [], b"hole")
        + tar(file("after", b"after"))
    )
    layers = [store.layers.pack(lambda sink, data=data: sink(data))
              for data in (below, tar(link("linked", "holes")))]  # fmt: skip
    return LayeredTree(store.layers, layers)


CONTENT = {
    "before": b"before",
    "holes": whole(SIZE, RUNS),
    "hole": bytes(1000),
    "after": b"after",
    "linked": whole(SIZE, RUNS),
}


def test_a_small_file_with_holes_is_read(tree):
    assert tree.read("hole") == bytes(1000)
    assert tree.read("after") == b"after"


def test_digests_are_those_of_the_whole_content(tree):
    found = {path: tree.tree.get(path) for path in CONTENT}
    digests = tree.digests(found.values())
    for path, content in CONTENT.items():
        key = found[path].layer, found[path].offset
        assert digests[key] == hashlib.sha256(content).hexdigest()


def test_contents_are_fetched_whole(tree, tmp_path):
    found = {path: tree.tree.get(path) for path in CONTENT}
    with tree.spool(found.values(), str(tmp_path)) as spool:
        for path, content in CONTENT.items():
            assert b"".join(spool.pieces(found[path])) == content


def test_what_is_left_of_one_file_does_not_disturb_the_next(tree):
    found = [tree.tree.get(path) for path in ("before", "holes", "hole", "after")]
    for count in range(3):
        seen = []
        for _, content in tree._contents(0, found):
            seen.append([piece for piece, _ in zip(content, range(count), strict=False)])
        assert all(len(pieces) <= count for pieces in seen)
        if count:
            assert seen[0] == [b"before"]
            assert seen[-1] == [b"after"]


@pytest.mark.slow
def test_holes_take_no_room_while_they_wait(store, tmp_path, monkeypatch):
    size = 1 << 30
    data = sparse("1.0", size, [(1 << 29, b"data")], b"f")
    layer = store.layers.pack(lambda sink: sink(data + bytes(1024)))
    tree = LayeredTree(store.layers, [layer])
    found = tree.tree.get("f")
    with tree.spool([found], str(tmp_path)) as spool:
        assert os.fstat(spool._fd).st_size == size
        assert os.fstat(spool._fd).st_blocks < 1 << 12
        assert next(spool.pieces(found)) == bytes(CHUNK)
