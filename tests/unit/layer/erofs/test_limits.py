"""What an image just holds, and what is a little too much for it."""

from __future__ import annotations

import os
import stat

import pytest

from ocitool.errors import LayerError
from ocitool.layer.erofs.format import DEVICES_AT, SUPER_AT
from ocitool.layer.erofs.node import Device, Node
from ocitool.layer.erofs.reader import ErofsImage
from ocitool.layer.erofs.writer import write
from tests.fixtures.erofs import Images, shown, unmountable
from tests.unit.layer.tars import file, link, mine

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


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (SUPER_AT, b"\0"),  # the magic
        (SUPER_AT + 14, b"\xff\xff"),  # where the root is
        (SUPER_AT + 86, b"\xff\xff"),  # how many devices there are
        (SUPER_AT + 88, b"\xff\xff"),  # where they are
        (SUPER_AT + 36, b"\xff\xff\xff\xff"),  # how many blocks there are
        (DEVICES_AT, b"../../../x"),  # what a device is called
        (DEVICES_AT, b"a" * 63),
        (DEVICES_AT, b"\xff" * 64),
    ],
)
def test_a_crafted_image_is_refused_before_anything_is_made_of_it(tmp_path, at, value):
    data = bytearray(image_of([])[0])
    data[at : at + len(value)] = value
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(LayerError), ErofsImage(str(tmp_path / "image")) as image:
        image.node(image.root)


@pytest.mark.slow
def test_a_file_may_have_more_names_than_16_bits_count(tmp_path):
    if reason := unmountable(str(tmp_path.parent)):
        pytest.skip(reason)
    names = [f"l{at}" for at in range(1 << 16)]
    images = Images(tmp_path)
    images.add(mine(file("f", b"f"), *(link(name, "f") for name in names)))
    (tmp_path / "shown").mkdir()
    with shown(tmp_path / "0.image", [str(tmp_path / "0.tar")], tmp_path / "shown") as top:
        assert {*os.listdir(top)} == {"f", *names}
        assert os.lstat(top / "l65535").st_nlink == len(names) + 1
        assert (top / "l65535").read_bytes() == b"f"
