"""Corrupt and hostile tars: always one of our errors, and never more than was allowed."""

from __future__ import annotations

import io

import pytest

from ocitool.errors import LayerError, TooLarge, UnsafePath
from ocitool.layer.entry import Limits, clean_path
from ocitool.layer.tar.reader import TarReader
from tests.unit.layer.tars import (
    directory,
    extended,
    file,
    header,
    link,
    members,
    padded,
    record,
    tar,
)

END = bytes(1024)
LONG = "/".join(["a-name-with-some-length"] * 10)


def test_cut_off_anywhere_it_is_corrupt_but_between_two_members():
    parts = (file(LONG, b"x" * 700), directory("d"), link("l", LONG), file("e"))
    whole = tar(*parts, end=False)
    between = {len(tar(*parts[:count], end=False)) for count in range(4)}
    cuts = {at + shift for at in range(0, len(whole), 512) for shift in (0, 1, 100, 156, 300, 511)}
    for cut in sorted(cut for cut in cuts if cut < len(whole)):
        if cut in between:
            assert len(members(whole[:cut])) < 4
        else:
            with pytest.raises(LayerError, match="unexpected end"):
                members(whole[:cut])


def test_a_cut_is_found_where_the_stream_comes_in_bits():
    class Bits(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(7, size) if size >= 0 else 7)

    whole = tar(file("a", b"x" * 700))
    assert members(Bits(whole))[0][1] == b"x" * 700
    with pytest.raises(LayerError, match="unexpected end of the archive inside 'a'"):
        members(Bits(whole[:900]))


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b" + bytes(510),
        b"not a tar" * 100,
        b"\0" * 511 + b"x",
        b"\xff" * 512,
        header()[:148] + b"0000000\0" + header()[156:],
        header(size=b"9"),
        header(size=b"-1"),
        header(size=b"+1"),
        header(size=b"1_0"),
        header(size=b"0o17"),
        header(size=b"\xff" * 12),
        header(uid=b"\xff" * 8),
        header(uid=b"\x80\0\0\0\xff\xff\xff\xff"),
        header(gid=b"\x80\0\0\1\0\0\0\0"),
        header(mtime=b"\x80" + b"\xff" * 11),
        header(mtime=b"\xc0" + b"\0" * 11),
        header(mode=b"x"),
        header(kind=b"3", major=b"10000"),
        header(kind=b"4", minor=b"\x80\0\0\0\0\x10\0\0"),
        header(b""),
        header(b"./"),
        header(b"l", kind=b"2"),
        header(b"l", kind=b"1"),
        header(b"l", kind=b"1", link=b"./"),
        header(kind=b"x", size=b"7777777777"),
        extended(record(b"path", b"a\0b")) + header(),
        extended(record(b"linkpath", b"a\0b")) + header(kind=b"2"),
        extended(record(b"linkpath", b"a" * 5000)) + header(kind=b"2"),
        extended(record(b"SCHILY.xattr.user.a\0b", b"x")) + header(),
        extended(record(b"size", b"-1")) + header(),
        extended(record(b"size", b"1" * 30)) + header(),
        extended(record(b"uid", b"4294967295")) + header(),
        extended(record(b"gid", b"1.5")) + header(),
        extended(record(b"mtime", b"now")) + header(),
        extended(record(b"mtime", b"1" * 30)) + header(),
        extended(record(b"mtime", b"1.x")) + header(),
        extended(record(b"mtime", b"\xd9\xa1")) + header(),
        extended(b"4 a=\n") + header(),
        extended(b"99 path=x\n") + header(),
        extended(b"9 path=xx\n") + header(),
        extended(b"path=x\n") + header(),
        extended(b"-9 path=x\n") + header(),
        extended(b"0 ") + header(),
        extended(b"7 path\n") + header(),
        extended(b"1" * 20 + b" a=b\n") + header(),
        extended(record(b"path", b"x")),
        extended(record(b"path", b"x"))[:600],
        extended(b"a\0b\0", b"L") + header(),
    ],
)
def test_what_is_corrupt_is_a_layer_error(data):
    with pytest.raises(LayerError):
        members(data + END)


@pytest.mark.parametrize(
    "name",
    [
        *("a/" + "b" * 256, "a\0b"),
        "a/" * 3000 + "b",
        "a" * 5000,
    ],
)
def test_names_that_no_file_can_have(name):
    long = extended(record(b"path", name.encode()))
    for data in (long + header(), extended(name.encode(), b"L") + header(kind=b"5")):
        with pytest.raises((UnsafePath, TooLarge)):
            members(data + END)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        *(("a", "a"), ("./a", "a"), ("a/", "a"), ("a//b", "a/b"), ("./", ""), (".", ""), ("", "")),
        *((".a", ".a"), ("..a", "..a"), ("a..", "a.."), ("a./b", "a./b"), (".../x", ".../x")),
        *(("/etc/passwd", "etc/passwd"), ("../x", "x"), ("a/../../x", "x"), ("a/..", "")),
        *(("..", ""), ("./..", ""), ("a/../b", "b"), ("/", ""), ("//x", "x"), ("/./x", "x")),
        *(("a/./b/.", "a/b"), ("././a", "a"), ("a b\n", "a b\n"), ("é" * 127, "é" * 127)),
    ],
)
def test_clean_names(name, clean):
    assert clean_path(name) == clean


def test_limits_have_their_edges():
    limits = Limits(path=20, name=5, depth=3)
    assert clean_path("aaaaa/bbbbb/ccccc", limits) == "aaaaa/bbbbb/ccccc"
    for name in ("aaaaaa", "é" * 3, "a/b/c/d", "aaaaa/bbbbb/ccccccccc"):
        with pytest.raises((TooLarge, UnsafePath)):
            clean_path(name, limits)


def test_too_many_entries():
    data = tar(*(file(str(n)) for n in range(4)))
    assert len(members(data, Limits(entries=4))) == 4
    with pytest.raises(TooLarge, match="3 entries"):
        members(data, Limits(entries=3))


def test_too_much_content_is_known_before_it_is_read():
    data = tar(file("a", b"x" * 100), file("b", b"x" * 100))
    assert len(members(data, Limits(total=200))) == 2
    with pytest.raises(TooLarge, match="199 bytes"):
        members(data, Limits(total=199))
    petabytes = header(size=b"\x80" + bytes(3) + b"\x7f" + bytes(7))
    with pytest.raises(TooLarge):
        members(petabytes)


def test_extended_headers_are_bounded_one_by_one_and_together():
    big = extended(record(b"comment", b"x" * 900))
    assert members(big + header() + END, Limits(pax=1000))
    with pytest.raises(TooLarge, match="1000 bytes"):
        members(extended(record(b"comment", b"x" * 1000)) + header() + END, Limits(pax=1000))
    with pytest.raises(TooLarge, match="1000 bytes"):
        members(big + big + header() + END, Limits(pax=1000))
    with pytest.raises(TooLarge):
        members(header(b"l", kind=b"L", size=b"77777777"))


def test_memory_stays_small_whatever_a_member_says():
    class Endless:
        """Petabytes that do not exist, and the most that was ever asked for at once."""

        def __init__(self, head):
            self.head, self.most, self.given = head, 0, 0

        def read(self, size=-1):
            self.most = max(self.most, size if size >= 0 else 1 << 60)
            data, self.head = self.head or bytes(min(size, 65536)), b""
            self.given += len(data)
            return data

    stream = Endless(header(size=b"77777777777"))
    reader = TarReader(stream)
    next(iter(reader))
    for _ in range(100):
        assert len(reader.read(1 << 30)) <= 1 << 20
    assert stream.most <= 1 << 20
    assert stream.given <= 200 << 16


def test_a_wrong_checksum_says_where():
    data = tar(file("a", b"x"), end=False) + padded(b"junk") + END
    with pytest.raises(LayerError, match="header at byte 1024"):
        members(data)
