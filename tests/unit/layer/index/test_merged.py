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
    tree = image([file(name, b"x"), symlink("l", name)])
    assert tree.get(name).entry == Entry(name, Kind.FILE, size=1)
    assert tree.get("l").entry.link == name


def test_every_field_survives_the_index():
    members = [
        Entry("c", Kind.CHAR, 0o1234, 5, 6, mtime=-(10**9), device=(7, 8)),
        link("h", "c", xattrs={"user.b": b"\0\xff", "user.a": b""}),
        directory("d", 0o1777, uid=(1 << 32) - 2),
    ]
    raw = index_of(io.BytesIO(tar(*members)))
    assert [placed.entry for placed in parse(raw).entries()] == members
    assert all(line.isascii() for line in raw.splitlines())


def test_the_members_keep_their_order():
    members = [directory("b"), file("b/x"), file("a"), file("b/x", mode=0o600), file(".wh.c")]
    entries = parse(index_of(io.BytesIO(tar(*members)))).entries()
    assert [placed.entry for placed in entries] == members


def test_of_a_path_that_comes_twice_the_last_counts():
    data = tar(file("a", b"1"), file("b"), file("a", b"22"))
    found = image([file("a", b"1"), file("b"), file("a", b"22")]).get("a")
    assert data[found.offset : found.offset + found.entry.size] == b"22"


TREE = [directory("d"), file("d/f", b"f", mode=0o600), directory("d/s"), symlink("l", "d")]


@pytest.mark.parametrize(
    ("members", "is_tree"),
    [
        ([], True),
        ([directory(""), *TREE], True),
        ([*TREE, link("n", "d/f", mode=0o600)], True),
        ([file("a"), file("a-"), file('b"c'), directory("c"), file("caf\udce9")], True),
        ([directory("a"), file("a/x"), file("a-")], True),
        ([*TREE, link("n", "d/f", mode=0o644)], False),  # changes the file
        ([*TREE, link("n", "d/f", mode=0o600), link("o", "n", mode=0o600)], False),
        ([link("a", "b"), file("b")], False),
        ([*TREE, file("l/x")], False),
        ([file("a-"), directory("a"), file("a/x")], False),
        ([file("a/x")], False),
        ([file("a"), file("a")], False),
        ([file(".wh.a")], False),
        ([directory("a"), file("a/.wh..wh..opq")], False),
        ([Entry("c", Kind.CHAR)], False),
    ],
)
def test_an_index_says_whether_its_layer_is_a_tree_as_it_is(members, is_tree):
    assert parse(index_of(io.BytesIO(tar(*members)))).is_tree is is_tree


WIDE = [
    *TREE,
    *(directory(f"n{at}") for at in range(10, 40)),
    *(file(f"n39/{at}", b"%d" % at) for at in range(100, 130)),
    directory("n39/zz"), file("n39/zz/\u00e4", b"a"), directory("n4"), file("n4/x", b"x"),
    link("o", "d/f", mode=0o600),
]  # fmt: skip


def test_a_tree_is_the_same_whether_looked_into_or_unpacked():
    index = parse(index_of(io.BytesIO(tar(*WIDE))))
    assert index.is_tree
    unpacked = LayerIndex(lines=index.lines, is_tree=False)
    for above in ([], [file("d/.wh.f")], [link("p", "o", mode=0o644)], [file("n39/.wh..wh..opq")]):
        top = parse(index_of(io.BytesIO(tar(*above))))
        one, two = (list(ImageTree([base, top]).walk("")) for base in (index, unpacked))
        assert [each.entry for each in one] == [each.entry for each in two]
        assert contents(one) == contents(two)
        assert names_of_files(one) == names_of_files(two)
    lazy = ImageTree([index])
    assert lazy.get("n39/zz/\u00e4").entry.size == 1
    assert lazy.get("o").file == lazy.get("d/f").file
    assert lazy.get("n39/99") is lazy.get("none/x") is lazy.get("d/f/x") is None


def contents(found):
    return [(each.layer, each.offset) for each in found if each.entry.kind == Kind.FILE]


def names_of_files(found):
    names = {}
    for each in found:
        names.setdefault(each.file, []).append(each.entry.path)
    return sorted(names.values())


@pytest.mark.parametrize(
    "lines",
    [b"x", b"[]", b'["a\xff",1]', b'["a\\"', b'"a",', b"[1,2]", b'["a","link",1,0,0,0,0,1]'],
)
@pytest.mark.parametrize("tree", [b"true", b"false"])
def test_a_corrupt_index_is_a_layer_error(lines, tree):
    index = parse(b'{"version":2,"tree":%b}\n%b\n' % (tree, lines))
    with pytest.raises(LayerError, match=r"corrupt|hard link"):
        list(ImageTree([index]).walk(""))


@pytest.mark.parametrize("raw", [b"", b'["a","file"]\n', b'{"version":3}\n', b"{"])
def test_an_index_that_is_cut_off_or_of_another_version_is_not_read(raw):
    with pytest.raises(LayerError, match="cut off, or of another version"):
        parse(raw)
    with pytest.raises(LayerError, match="cut off"):
        parse(index_of(io.BytesIO(tar(*TREE)))[:-1])


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


def test_attributes_that_nothing_keeps_are_not_there():
    odd = {"user.a": b"1", "trusted.a": b"1", "security.capability": b"c"}
    tree = image(
        [file("f", xattrs=odd), symlink("l", "f", xattrs=odd), directory("z", xattrs=odd)],
        [link("m", "l", xattrs=odd), link("g", "f", xattrs={"user.ocitool.owner": b"1:1"})],
    )
    kept = {path: [*tree.get(path).entry.xattrs] for path in ("f", "g", "l", "m", "z")}
    of_files = ["security.capability", "user.a"]
    assert kept == {
        "f": of_files, "g": of_files, "z": of_files, "l": of_files[:1], "m": of_files[:1],
    }  # fmt: skip


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
