"""Looking into layers by their indexes alone."""

from __future__ import annotations

import io

import pytest

from ocitool.errors import LayerError
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.index.index import LayerIndex, index_of, parse
from ocitool.layer.index.merged import ImageTree
from tests.unit.layer.tars import directory, file, link, symlink, tar


def image(*layers):
    return ImageTree([parse(index_of(io.BytesIO(tar(*layer)))) for layer in layers])


ODD = [",", ",a", 'a",b', 'a"', "\\", "a\nb", "caf\udce9", "é☃", 'quote"/in\\side', "[1", " "]


@pytest.mark.parametrize("name", ODD)
def test_any_name_survives_the_index(name):
    index = parse(index_of(io.BytesIO(tar(file(name, b"x"), symlink("l", name)))))
    assert index.get(name).entry == Entry(name, Kind.FILE, size=1)
    assert index.get("l").entry.link == name


def test_every_field_survives_the_index():
    members = [
        Entry("c", Kind.CHAR, 0o1234, 5, 6, mtime=-(10**9), device=(7, 8)),
        link("h", "c", xattrs={"user.b": b"\0\xff", "user.a": b""}),
        directory("d", 0o1777, uid=(1 << 32) - 2),
    ]
    raw = index_of(io.BytesIO(tar(*members)))
    index = parse(raw)
    assert [index.get(entry.path).entry for entry in members] == members
    assert all(line.isascii() for line in raw.splitlines())


def test_of_a_path_that_comes_twice_the_last_counts():
    data = tar(file("a", b"1"), file("b"), file("a", b"22"))
    placed = parse(index_of(io.BytesIO(data))).get("a")
    assert data[placed.offset : placed.offset + placed.entry.size] == b"22"


def test_the_order_of_the_tar_does_not_matter():
    members = [directory("a"), file("a/b"), file("a-"), directory("a/c"), file(".wh.x")]
    forth, back = (index_of(io.BytesIO(tar(*m))) for m in (members, members[::-1]))
    names = [LayerIndex(raw).names("a") for raw in (forth, back)]
    assert sorted(names[0]) == sorted(names[1]) == ["b", "c"]
    assert list(parse(back).paths()) == ["a", "a/b", "a/c", "a-"]


@pytest.mark.parametrize("raw", [b"x", b"[]", b'["a\xff",1]', b'["a\\"', b'"a",', b"[1,2]"])
def test_a_corrupt_index_is_a_layer_error(raw):
    with pytest.raises(LayerError, match="corrupt"):
        parse(raw)


def test_directories_without_entries_are_there_all_the_way_up():
    tree = image([file("a/b/c/d", b"x")])
    assert [found.entry.path for found in tree.walk("")] == ["a", "a/b", "a/b/c", "a/b/c/d"]
    assert tree.get("a").entry == Entry("a", Kind.DIRECTORY, 0o755)
    assert tree.names("") == ["a"]
    assert tree.get("a/x") is tree.get("x") is None


def test_directories_without_entries_look_as_below():
    below = directory("a", 0o2750, uid=5, gid=6, mtime=7 * 10**9, xattrs={"user.a": b"1"})
    tree = image([below], [file("a/x")], [file("a/y")])
    assert tree.get("a").entry == below
    assert tree.get("a").layer == 0
    for hidden in ([file(".wh.a"), file("a/x")], [file(".wh.a")], [file("a")]):
        tree = image([below], hidden, [file("a/y")])
        assert tree.get("a").entry == Entry("a", Kind.DIRECTORY, 0o755)
    opaque = image([below, file("a/x")], [file("a/.wh..wh..opq")], [file("a/y")])
    assert opaque.get("a").entry == below
    assert opaque.names("a") == ["y"]


def test_whiteouts_count_in_directories_without_entries():
    tree = image(
        [directory("a"), directory("a/b"), file("a/b/c"), file("a/d")], [file("a/b/.wh.c")]
    )
    assert tree.get("a/b/c") is None
    assert tree.names("a/b") == []
    assert tree.names("a") == ["b", "d"]
    assert image([], [file("x/.wh.y")]).names("") == []


def test_what_a_layer_has_itself_is_not_hidden_by_its_own_whiteouts():
    tree = image(
        [file("a/old"), file("f", b"1")], [file(".wh.a"), file("a/new"), file(".wh.f"), file("f")]
    )
    assert tree.names("a") == ["new"]
    assert tree.get("f").layer == 1


def test_an_opaque_top():
    tree = image(
        [file("old"), directory("d"), file("d/old")], [file(".wh..wh..opq"), file("d/new")]
    )
    assert [found.entry.path for found in tree.walk("")] == ["d", "d/new"]


def test_aufs_metadata_is_not_there():
    tree = image(
        [directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs"), file("a")]
    )
    assert tree.names("") == ["a"]
    assert tree.get(".wh..wh.plnk/1.2") is None


def test_the_content_is_where_the_tar_has_it():
    layers = [[file("a", b"old")], [file("b", b"new"), file("c", b"more")]]
    tree = image(*layers)
    for path, content in (("a", b"old"), ("b", b"new"), ("c", b"more")):
        found = tree.get(path)
        data = tar(*layers[found.layer])
        assert data[found.offset : found.offset + found.entry.size] == content


def test_names_are_in_the_order_of_their_bytes():
    names = ["é", "\udcff", "a-", "a", "B", "aa"]
    assert image([file(name) for name in names]).names("") == ["B", "a", "a-", "aa", "é", "\udcff"]


LINKS = [
    *(directory("usr"), directory("usr/lib"), file("usr/lib/x"), symlink("lib", "usr/lib")),
    *(symlink("abs", "/usr/./lib/"), symlink("up", "../../usr"), symlink("usr/back", "../lib")),
    *(symlink("chain", "abs"), symlink("dangling", "no/such"), symlink("self", "self")),
    *(symlink("ping", "pong"), symlink("pong", "ping"), symlink("usr/root", "/")),
]


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("lib/x", "usr/lib/x"),
        ("/lib/x", "usr/lib/x"),
        ("./lib//x", "usr/lib/x"),
        ("abs/x", "usr/lib/x"),
        ("chain/x", "usr/lib/x"),
        ("up/lib/x", "usr/lib/x"),
        ("usr/back/x", "usr/lib/x"),
        ("usr/root/usr/root/lib/x", "usr/lib/x"),
        ("lib/../lib/x", "usr/lib/x"),
        ("lib/..", "usr"),
        ("../../../etc/passwd", "etc/passwd"),
        ("dangling/y", "no/such/y"),
        ("dangling", "no/such"),
        ("missing/y", "missing/y"),
        ("", ""),
        ("/", ""),
        ("usr/root", ""),
    ],
)
def test_resolving(path, resolved):
    assert image(LINKS).resolve(path) == resolved


def test_the_last_name_may_be_left_as_it_is():
    tree = image(LINKS)
    assert tree.resolve("lib", last=False) == "lib"
    assert tree.resolve("up/back", last=False) == "usr/back"
    assert tree.resolve("self", last=False) == "self"


@pytest.mark.parametrize("path", ["self", "self/x", "ping", "pong/x"])
def test_links_in_a_circle(path):
    with pytest.raises(LayerError, match="too many levels"):
        image(LINKS).resolve(path)


def test_as_many_links_as_the_kernel_follows():
    def chain(length):
        return image([symlink(str(n), str(n + 1)) for n in range(length)])

    assert chain(40).resolve("0") == "40"
    with pytest.raises(LayerError):
        chain(41).resolve("0")


def test_links_of_a_lower_layer_count_until_they_are_replaced():
    assert image(LINKS, [file("y")]).resolve("lib/x") == "usr/lib/x"
    assert image(LINKS, [directory("lib")]).resolve("lib/x") == "lib/x"
    assert image(LINKS, [file(".wh.lib")]).resolve("lib/x") == "lib/x"
