"""Layers that are out of order, hard links, and paths through links, as indexes know them."""

from __future__ import annotations

import io
import os

import pytest

from ocitool.errors import LayerError
from ocitool.layer.entry import Kind
from ocitool.layer.index.index import index_of, parse
from ocitool.layer.index.links import resolve_links
from ocitool.layer.index.merged import ImageTree
from ocitool.layer.unpack.extract import apply
from ocitool.layer.whiteouts import Removal
from tests.unit.layer.tars import directory, file, link, mine, symlink, tar


def indexed(*members):
    return parse(index_of(io.BytesIO(tar(*members))))


def test_a_name_linked_before_its_file_is_replaced_keeps_the_file():
    data = tar(
        file("a", b"old"), link("b", "a"), link("c", "a"), link("d", "b"), file("a", b"new!")
    )
    found = parse(index_of(io.BytesIO(data)))
    assert found.get("a").entry.size == 4
    kept = found.get("b")
    assert (kept.entry.kind, data[kept.offset : kept.offset + kept.entry.size]) == ("file", b"old")
    assert [found.get(name).entry.link for name in "cd"] == ["b", "b"]


def test_what_was_in_a_replaced_directory_is_gone():
    members = [directory("d"), file("d/x", b"x"), link("kept", "d/x"), file("d")]
    assert list(indexed(*members).paths()) == ["d", "kept"]
    assert indexed(*members).get("kept").entry.kind == Kind.FILE
    assert list(indexed(file("i/j/x"), file("i")).paths()) == ["i"]
    again = indexed(*members, directory("d"))
    assert (list(again.names("d")), again.opaque("d")) == ([], True)


def test_directories_that_come_twice_or_late_keep_what_is_in_them():
    found = indexed(
        directory("d"), file("d/x"), file("e/f/x"), directory("e/f"), directory("d", 0o700)
    )
    assert list(found.paths()) == ["d", "d/x", "e/f", "e/f/x"]
    assert not found.opaque("d")


def test_members_go_where_links_lead():
    below = indexed(
        directory("usr"), directory("usr/lib"), file("usr/lib/f"), symlink("lib", "usr/lib")
    )
    above = indexed(file("lib/g"), file("lib/.wh.f"), file("lib/sub/.wh..wh..opq"))
    seen = ImageTree(resolve_links([below, above]))
    assert [found.entry.path for found in seen.walk("")] == [
        "lib", "usr", "usr/lib", "usr/lib/g", "usr/lib/sub",
    ]  # fmt: skip
    own = indexed(symlink("a", "b"), directory("b"), file("a/x"))
    assert list(resolve_links([own])[0].paths()) == ["a", "b", "b/x"]


def test_a_link_that_the_layer_removes_leads_nowhere():
    below = indexed(symlink("lib", "usr"))
    seen = ImageTree(resolve_links([below, indexed(file(".wh.lib"), file("lib/g"))]))
    assert [found.entry.path for found in seen.walk("")] == ["lib", "lib/g"]


def test_nothing_is_copied_where_no_link_is_met():
    plain = [indexed(directory("d"), file("d/x")), indexed(file("d/y"))]
    assert all(one is two for one, two in zip(resolve_links(plain), plain, strict=True))


def test_links_in_circles_are_refused():
    with pytest.raises(LayerError):
        resolve_links([indexed(symlink("a", "a")), indexed(file("a/x"))])


@pytest.mark.parametrize("target", ["../..", "/", "../../b/..", "/b/../.."])
def test_links_out_of_the_tree_lead_to_its_root(target):
    for layers in [[symlink("a", target)], [file("a/x")]], [[symlink("a", target), file("a/x")]]:
        assert stack(*layers).get("x").entry.kind == Kind.FILE


def stack(*layers):
    return ImageTree(resolve_links([indexed(*layer) for layer in layers]))


USR = [directory("usr"), directory("usr/lib"), file("usr/lib/low"), symlink("lib", "usr/lib")]


def test_directories_go_where_links_lead_with_what_is_in_them():
    seen = stack(USR, [directory("lib/modules", 0o700), file("lib/modules/x")])
    assert seen.get("lib").entry.kind == Kind.SYMLINK
    assert seen.get("usr/lib/modules").entry.mode == 0o700
    assert [found.entry.path for found in seen.walk("usr/lib")] == [
        "usr/lib/low", "usr/lib/modules", "usr/lib/modules/x",
    ]  # fmt: skip


def test_a_link_has_other_names():
    low = [*USR, link("s", "lib")]
    seen = stack(low, [file("s/.wh.low"), file("s/x")])
    assert [found.entry.path for found in seen.walk("usr/lib")] == ["usr/lib/x"]
    assert seen.resolve("s/x") == "usr/lib/x"


@pytest.mark.parametrize("after", [file("f", b"new!"), directory("f"), link("f", "g")])
def test_a_hard_link_to_a_file_below_stays_one(after):
    seen = stack([file("f", b"low")], [link("g", "f"), after])
    assert seen.original(seen.get("g")).layer == 0
    if after is not None and seen.get("f").entry.kind == Kind.HARDLINK:
        assert seen.original(seen.get("f")).layer == 0


def test_a_chain_of_hard_links_may_be_long():
    links = [link(f"l{at:02}", f"l{at - 1:02}") for at in range(1, 90)]
    seen = stack([file("l00", b"x")], links)
    assert seen.original(seen.get("l89")).entry.size == 1


@pytest.mark.parametrize(
    "members", [[link("a", "b"), link("b", "a")], [link("a", "a/x")], [link("a", "no")]]
)
def test_hard_links_to_nothing_and_in_circles_are_refused(members):
    with pytest.raises(LayerError, match="hard link"):
        seen = stack(members)
        for found in seen.walk(""):
            seen.original(found)


LED = {
    "one file by two names": [
        directory("run"), symlink("var", "/run"), file("var/pid", b"1"), file("run/pid", b"22"),
    ],
    "a link that is replaced by another": [
        symlink("l", "/one"), file("l/f", b"1"), symlink("l", "two"), file("l/g", b"22"),
    ],
    "a link that is replaced by a directory": [
        symlink("l", "/one"), file("l/f", b"1"), directory("l"), file("l/g", b"22"),
    ],
    "a link up": [
        directory("z"), directory("d"), symlink("d/up", "../z"), file("d/up/f", b"1"),
        file("z/f", b"22"),
    ],
    "another name through a link": [
        symlink("s", "/t"), file("s/f", b"1"), link("a", "s/f"), file("s/f", b"22"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("members", LED.values(), ids=LED)
def test_an_index_knows_where_links_led_when_a_member_came(tmp_path, members):
    data = tar(*members)
    apply(io.BytesIO(mine(*members)), str(tmp_path), Removal())
    files = {
        os.path.relpath(path, tmp_path): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    tree = ImageTree(resolve_links([parse(index_of(io.BytesIO(data)))]))
    found = {}
    for each in map(tree.get, files):
        assert each is not None
        real = tree.original(each)
        found[each.entry.path] = data[real.offset : real.offset + real.entry.size]
    assert found == files
    assert [each.entry.path for each in tree.walk("") if each.entry.kind == "file"] == sorted(
        path for path in files if tree.get(path).entry.kind == "file"
    )


def test_a_directory_in_the_place_of_a_link_hides_nothing_where_the_link_led():
    below = indexed(directory("l"), file("l/low"), directory("one"), file("one/low"))
    above = indexed(symlink("l", "/one"), file("l/f"), directory("l"), file("l/g"))
    tree = ImageTree(resolve_links([below, above]))
    assert [each.entry.path for each in tree.walk("")] == ["l", "l/g", "one", "one/f", "one/low"]
