"""What an image just holds, and what is a little too much for it."""

from __future__ import annotations

import stat

import pytest

from ocitool.errors import LayerError
from ocitool.layer.erofs.node import Device, Node
from ocitool.layer.erofs.reader import ErofsImage
from ocitool.layer.erofs.writer import write

LARGEST = 0xFFFF  # bytes of one attribute
HEAD = 8  # bytes: what stands before a value of "user.NAME" with four letters


def image_of(sizes):
    """The image of a directory whose attributes have values of *sizes*."""
    named = {f"user.{at:04}": b"x" * size for at, size in enumerate(sizes)}
    return write(Node(stat.S_IFDIR | 0o755, xattrs=named), (Device(tag="", size=0),)), named


@pytest.mark.parametrize("words", range(65_529, 65_538))
def test_attributes_fit_or_are_refused(tmp_path, words):
    """An inode counts their words, and one more, in 16 bits."""
    last = words * 4 - 3 * (LARGEST + 1 + HEAD) - HEAD
    sizes = [LARGEST, LARGEST, LARGEST, last]
    if last > LARGEST or words > 65_534:
        with pytest.raises(LayerError):
            image_of(sizes)
        return
    data, named = image_of(sizes)
    (tmp_path / "image").write_bytes(data)
    with ErofsImage(str(tmp_path / "image")) as image:
        assert image.verify().node(image.root).xattrs == named


@pytest.mark.parametrize("size", [LARGEST, LARGEST + 1])
def test_one_attribute_fits_or_is_refused(size):
    if size > LARGEST:
        with pytest.raises(LayerError):
            image_of([size])
    else:
        assert len(image_of([size])[0]) > size
