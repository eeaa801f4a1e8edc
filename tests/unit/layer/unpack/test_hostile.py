"""Layers made to do harm: nothing outside is touched, and the error is one of ours."""

from __future__ import annotations

import io
import os

import pytest

from ocitool.drivers.conformance import layers
from ocitool.errors import LayerError, OcitoolError, TooLarge
from ocitool.layer.entry import Entry, Kind, Limits
from ocitool.layer.ownership import XattrOwnership
from ocitool.layer.unpack.extract import apply
from ocitool.layer.unpack.whiteouts import Removal
from tests.fixtures.deadlines import within
from tests.unit.layer.tars import directory, extended, file, header, link, mine, record, symlink

OWN = {"uid": b"%o" % os.geteuid(), "gid": b"%o" % os.getegid()}
pytestmark = pytest.mark.usefixtures("resolution")


@pytest.fixture
def outside(stack):
    """A folder beside the tree, which must stay as it is."""
    place = stack.top.parent / "outside"
    place.mkdir()
    (place / "secret").write_text("secret")
    return place


@pytest.fixture(autouse=True)
def untouched(outside):
    yield
    assert {p.name: p.read_text() for p in outside.iterdir()} == {"secret": "secret"}
    assert (outside / "secret").stat().st_nlink == 1


@pytest.mark.parametrize(
    "name", ["../outside/x", "/outside/x", "a/../../outside/x", "//outside//x"]
)
@pytest.mark.parametrize(
    ("kind", "shown"), [(b"0", "file"), (b"2", "symlink"), (b"5", "dir"), (b"6", "fifo")]
)
def test_names_that_lead_out_lead_to_the_root(stack, name, kind, shown):
    stack.apply_tar(header(name.encode(), kind=kind, link=b"secret", **OWN) + bytes(1024))
    assert stack.shows()["outside/x"][0] == shown


@pytest.mark.parametrize("name", ["..", "a/..", "/", "a/../../.."])
def test_only_a_directory_can_be_the_root(stack, name):
    stack.apply_tar(header(name.encode(), kind=b"5", **OWN) + bytes(1024))
    for kind in b"0", b"1", b"2", b"3", b"6":
        member = header(name.encode(), kind=kind, link=b"secret", major=b"1", minor=b"3")
        with pytest.raises(LayerError, match="a member that is not a directory has no name"):
            stack.apply_tar(member + bytes(1024))


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("split", [True, False], ids=["two layers", "one layer"])
@pytest.mark.parametrize("target", ["outside", "root"])
@pytest.mark.parametrize("up", ["../", ""], ids=["relative", "absolute"])
def test_through_a_link_that_leads_out(stack, outside, depth, split, target, up):
    inside = "/".join("d" * depth)
    name = f"{inside}/evil" if inside else "evil"
    path = str(outside) if target == "outside" else "/"
    before = [directory("/".join("d" * n)) for n in range(1, depth + 1)]
    before.append(symlink(name, up * (depth + 20) + path))
    attack = file(f"{name}/secret", b"owned")
    if split:
        stack.apply(*before).apply(attack)
    else:
        stack.apply(*before, attack)
    assert stack.shows()[f"{path}/secret".lstrip("/")] == ("file", "0o644", b"owned")


@pytest.mark.parametrize(
    "attack",
    [
        lambda out: [symlink("e", str(out)), link("l", "e/secret")],
        lambda out: [symlink("e", "../../outside"), link("l", "e/secret")],
        lambda out: [link("l", "../outside/secret")],
        lambda out: [link("l", "../../outside/secret"), file("l", b"owned")],
        lambda out: [Entry("zero", Kind.CHAR)],
        lambda out: [file(".wh...")],
        lambda out: [file(".wh..")],
        lambda out: [directory("d"), file("d/.wh...")],
        lambda out: [directory("d"), file("d/f"), file("d/.wh..")],
        lambda out: [directory("d"), Entry("d/x", Kind.CHAR, 0o777, device=(0, 0))],
    ],
)
def test_attacks_are_refused(stack, outside, attack):
    with pytest.raises(LayerError):
        stack.apply(*attack(outside))


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        (lambda out: [file("e/x/y", b"mine")], {"x/y": "file"}),
        (lambda out: [file("e/.wh.secret")], {}),
        (lambda out: [file("e/.wh..wh..opq")], {}),
        (lambda out: [directory("e/secret")], {"secret": "dir"}),
        (lambda out: [symlink("e/secret", "x")], {"secret": "symlink"}),
        (lambda out: [Entry("e/pipe", Kind.FIFO)], {"pipe": "fifo"}),
        (lambda out: [file("e/f"), link("e/l", "e/f"), link("l", f"{out}/f")],
         {"f": "file", "l": "file"}),
    ],
)  # fmt: skip
def test_links_lead_to_the_tree_itself(stack, outside, members, shown):
    stack.apply(symlink("e", str(outside)), *members(outside))
    top = str(outside)[1:]
    found = stack.shows()
    assert {name: found[f"{top}/{name}"][0] for name in shown} == shown
    assert "secret" in shown or f"{top}/secret" not in found


def test_a_file_over_a_link_replaces_the_link(stack, outside):
    secret = str(outside / "secret")
    stack.apply(symlink("l", secret), file("l", b"mine", mode=0o666))
    stack.apply(symlink("l", secret)).apply(file("l", b"mine"))
    stack.apply(symlink("l", secret)).apply(directory("l"))
    stack.apply(symlink("l", str(outside))).apply(directory("l", 0o700), file("l/secret", b"x"))
    assert stack.shows()["l/secret"] == ("file", "0o644", b"x")


def test_the_tree_itself_is_no_link(outside, tmp_path):
    (tmp_path / "tree").symlink_to(outside)
    data = io.BytesIO(mine(file("secret", b"owned")))
    with pytest.raises(NotADirectoryError):
        apply(data, str(tmp_path / "tree"), Removal())


@pytest.mark.parametrize(
    "name", ["trusted.overlay.opaque", "user.overlay.opaque", "user.overlay.redirect",
             "trusted.anything", "security.selinux", "user.overlay.whiteout"]
)  # fmt: skip
def test_marks_of_the_driver_cannot_be_forged(stack, name):
    stack.apply(directory("d"), file("d/f", b"f"))
    stack.apply(directory("d", xattrs={name: b"y"}), file("g", xattrs={name: b"y"}))
    assert stack.names() == ["d", "d/f", "g"]
    for path in ("d", "g"):
        assert name not in os.listxattr(stack.place(path))
    assert stack.notes == ()


def test_attributes_that_the_machine_has_not_are_noted_and_left_out(stack):
    stack.apply(file("f", xattrs={"nonsense": b"x", "user.fine": b"y"}))
    assert stack.notes == (
        "the attribute nonsense was left out: the file system does not take it (1 entries)",
    )
    assert os.getxattr(stack.place("f"), "user.fine") == b"y"


@pytest.mark.parametrize("name", ["user." + "n" * 300, "user."])
def test_attributes_that_cannot_be_are_a_layer_error(stack, name):
    with pytest.raises(LayerError):
        stack.apply(file("f", xattrs={name: b"x"}))


@pytest.mark.parametrize(
    ("limits", "members"),
    [
        (Limits(entries=2), [file("a"), file("b"), file("c")]),
        (Limits(total=10), [file("a", b"123456"), file("b", b"123456")]),
        (Limits(pax=100), [file("a", xattrs={"user.a": b"x" * 100})]),
        (Limits(depth=3), [file("a/b/c/d")]),
        (Limits(depth=3), [link("l", "a/b/c/d")]),
    ],
)
def test_limits(stack, limits, members):
    with pytest.raises(TooLarge):
        stack.apply(*members, limits=limits)


@pytest.mark.slow
def test_the_deepest_path_that_is_allowed(stack):
    deep = "/".join("d" * 255)
    stack.apply(file(f"{deep}/f", b"f"))
    assert stack.place(f"{deep}/f").read_bytes() == b"f"
    with pytest.raises(TooLarge):
        stack.apply(file(f"{deep}/d/d"))


@pytest.mark.parametrize(
    ("kind", "records"),
    [
        *((kind, record(b"uid", b"99999999999")) for kind in (b"0", b"1", b"2", b"3", b"5")),
        *((kind, record(b"mtime", b"99999999999999")) for kind in (b"0", b"1", b"2", b"6", b"5")),
        *((kind, record(b"linkpath", b"a\0b")) for kind in (b"1", b"2")),
        *((kind, record(b"SCHILY.xattr.user.\0", b"")) for kind in (b"0", b"2", b"5")),
        *((kind, record(b"path", b"a/" * 2040 + b"a")) for kind in (b"0", b"5")),
    ],
)
def test_values_that_no_system_call_takes(stack, kind, records):
    with pytest.raises(OcitoolError):
        stack.apply_tar(extended(records) + header(kind=kind, link=b"t") + bytes(1024))


def test_descriptors_do_not_leak(stack):
    before = len(os.listdir("/proc/self/fd"))
    wide = [file(f"d{n}/e{n}/f", b"f") for n in range(300)]
    stack.apply(*wide, link("l", "d7/e7/f"))
    for bad in ([file("x"), file("x/y")], [symlink("x", "x"), file("x/y")], [link("l", "no")]):
        with pytest.raises(LayerError):
            stack.apply(*bad)
    assert len(os.listdir("/proc/self/fd")) == before


def test_owners_of_hard_links_that_contradict_each_other_take_no_time_without_end(
    tmp_path, monkeypatch
):
    """In single-ID mode the owner of a symbolic link is kept by each of its names."""
    monkeypatch.setattr("ocitool.layer.ownership._chosen", [XattrOwnership()])
    monkeypatch.setattr("ocitool.layer.unpack.target._MOST_CHANGES", 1000)
    (tmp_path / "tree").mkdir()
    members = [layers.symlink("l", "f")]
    members += [layers.hardlink(f"m{at}", "l", (at % 2, 0)) for at in range(100)]
    with within(60), pytest.raises(TooLarge, match="too many different owners"):
        apply(layers.tar(members), str(tmp_path / "tree"), Removal())


def test_owners_of_many_hard_links_that_agree(tmp_path, monkeypatch):
    monkeypatch.setattr("ocitool.layer.ownership._chosen", [XattrOwnership()])
    monkeypatch.setattr("ocitool.layer.unpack.target._MOST_CHANGES", 1)
    (tmp_path / "tree").mkdir()
    members = [layers.symlink("l", "f", (7, 8))]
    members += [layers.hardlink(f"m{at}", "l", (7, 8)) for at in range(100)]
    apply(layers.tar(members), str(tmp_path / "tree"), Removal())
    last = tmp_path / "tree/m99"
    state = XattrOwnership().effective(str(last), last.lstat())
    assert (state.st_uid, state.st_gid) == (7, 8)
