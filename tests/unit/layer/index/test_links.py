"""Layers in any order, hard links, and paths through links: the tree is what unpacking makes."""

from __future__ import annotations

import io

import pytest

from ocitool.errors import LayerError
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.index.index import index_of, parse
from ocitool.layer.index.lines import line_of
from ocitool.layer.index.merged import ImageTree
from ocitool.layer.unpack.extract import apply
from ocitool.layer.unpack.whiteouts import Removal
from tests.unit.layer.tars import directory, file, link, mine, symlink, tar


def stack(*layers):
    return ImageTree([parse(index_of(io.BytesIO(tar(*layer)))) for layer in layers])


def paths(tree, directory=""):
    return [found.entry.path for found in tree.walk(directory)]


def test_a_name_linked_before_its_file_is_replaced_keeps_the_file():
    data = tar(
        file("a", b"old"), link("b", "a"), link("c", "a"), link("d", "b"), file("a", b"new!")
    )
    tree = ImageTree([parse(index_of(io.BytesIO(data)))])
    assert tree.get("a").entry.size == 4
    kept = [tree.get(name) for name in "bcd"]
    for each in kept:
        assert each.entry.kind == Kind.FILE
        assert data[each.offset : each.offset + each.entry.size] == b"old"
    assert len({each.file for each in kept}) == 1 != tree.get("a").file


def test_what_was_in_a_replaced_directory_is_gone():
    members = [directory("d"), file("d/x", b"x"), link("kept", "d/x"), file("d")]
    assert paths(stack(members)) == ["d", "kept"]
    assert stack(members).get("kept").entry.kind == Kind.FILE
    assert paths(stack([file("i/j/x"), file("i")])) == ["i"]
    again = stack([directory("d"), file("d/low")], [*members, directory("d")])
    assert paths(again) == ["d", "kept"]


def test_directories_that_come_twice_or_late_keep_what_is_in_them():
    found = stack(
        [file("d/low")],
        [directory("d"), file("d/x"), file("e/f/x"), directory("e/f"), directory("d", 0o700)],
    )
    assert paths(found) == ["d", "d/low", "d/x", "e", "e/f", "e/f/x"]


def test_members_go_where_links_lead():
    low = [directory("usr"), directory("usr/lib"), file("usr/lib/f"), symlink("lib", "usr/lib")]
    high = [file("lib/g"), file("lib/.wh.f"), file("lib/sub/.wh..wh..opq")]
    assert paths(stack(low, high)) == ["lib", "usr", "usr/lib", "usr/lib/g", "usr/lib/sub"]
    assert paths(stack([symlink("a", "b"), directory("b"), file("a/x")])) == ["a", "b", "b/x"]


def test_a_link_that_the_layer_removes_leads_nowhere():
    low = [directory("usr"), symlink("lib", "usr")]
    assert paths(stack(low, [file(".wh.lib"), file("lib/g")])) == ["lib", "lib/g", "usr"]


def test_links_in_circles_are_refused():
    with pytest.raises(LayerError, match="too many levels"):
        stack([symlink("a", "a")], [file("a/x")])


@pytest.mark.parametrize("target", ["../..", "/", "../../b/..", "/b/../.."])
def test_links_out_of_the_tree_lead_to_its_root(target):
    for layers in [[symlink("a", target)], [file("a/x")]], [[symlink("a", target), file("a/x")]]:
        assert stack(*layers).get("x").entry.kind == Kind.FILE


USR = [directory("usr"), directory("usr/lib"), file("usr/lib/low"), symlink("lib", "usr/lib")]


def test_directories_go_where_links_lead_with_what_is_in_them():
    seen = stack(USR, [directory("lib/modules", 0o700), file("lib/modules/x")])
    assert seen.get("lib").entry.kind == Kind.SYMLINK
    assert seen.get("usr/lib/modules").entry.mode == 0o700
    assert paths(seen, "usr/lib") == ["usr/lib/low", "usr/lib/modules", "usr/lib/modules/x"]


def test_a_link_has_other_names():
    low = [*USR, link("s", "lib")]
    seen = stack(low, [file("s/.wh.low"), file("s/x")])
    assert paths(seen, "usr/lib") == ["usr/lib/x"]
    assert seen.resolve("s/x") == "usr/lib/x"


@pytest.mark.parametrize("after", [file("f", b"new!"), directory("f"), link("f", "g")])
def test_a_hard_link_to_a_file_below_stays_one(after):
    seen = stack([file("f", b"low")], [link("g", "f"), after])
    assert (seen.get("g").layer, seen.get("g").entry.size) == (0, 3)
    if after[0] == "f" and after[1] == Kind.HARDLINK:
        assert seen.get("f").file == seen.get("g").file


def test_other_names_of_a_file_in_lower_layers_stay_as_they_are():
    low = [file("f", b"low"), link("g", "f", mode=0o644)]
    assert stack(low).get("f").file == stack(low).get("g").file
    seen = stack(low, [link("h", "f", mode=0o600, uid=5, mtime=10**9)])
    f, g, h = map(seen.get, "fgh")
    assert f.file == h.file != g.file
    assert (f.entry.mode, f.entry.uid, f.entry.mtime) == (0o600, 5, 10**9)
    assert f.entry[2:] == h.entry[2:]
    assert g.entry == file("g", b"low")[0]._replace(size=3)
    assert f.offset == g.offset


def test_a_chain_of_hard_links_may_be_long():
    links = [link(f"l{at:02}", f"l{at - 1:02}") for at in range(1, 90)]
    assert stack([file("l00", b"x")], links).get("l89").entry.size == 1


@pytest.mark.parametrize(
    "members", [[link("a", "b"), link("b", "a")], [link("a", "a/x")], [link("a", "no")]]
)
def test_hard_links_to_nothing_and_in_circles_are_refused(members):
    with pytest.raises(LayerError, match="hard link"):
        stack(members)


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
def test_links_lead_where_they_did_when_a_member_came(tmp_path, members):
    data = tar(*members)
    apply(io.BytesIO(mine(*members)), str(tmp_path), Removal())
    tree = ImageTree([parse(index_of(io.BytesIO(data)))])
    found = {
        each.entry.path: data[each.offset : each.offset + each.entry.size]
        for each in tree.walk("")
        if each.entry.kind == Kind.FILE
    }
    assert found == {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_a_directory_instead_of_a_link_hides_nothing_where_the_link_led():
    low = [directory("l"), file("l/low"), directory("one"), file("one/low")]
    high = [symlink("l", "/one"), file("l/f"), directory("l"), file("l/g")]
    assert paths(stack(low, high)) == ["l", "l/g", "one", "one/f", "one/low"]


def test_a_hard_link_to_a_device_has_the_line_that_is_made_of_its_header():
    packed = Entry("link", Kind.HARDLINK, 0o644, link="device", device=(1, 5))
    assert line_of(packed, 0, None) == line_of(packed._replace(device=(0, 0)), 0, None)
