"""Unpacking: what replaces what, what is hidden, what is missing, whatever the order."""

from __future__ import annotations

import itertools
import os

import pytest

from ocitool.errors import LayerError
from ocitool.layer.entry import OPAQUE, Entry, Kind
from tests.unit.layer.tars import directory, file, link, symlink

D, F = ("dir", "0o755"), ("file", "0o644")
BASE = (directory("d"), file("d/a", b"a"), directory("d/s"), file("d/s/b", b"b"), file("f", b"f"))


def whiteout(path):
    """A whiteout of *path*."""
    parent, _, name = path.rpartition("/")
    return file(f"{parent}/.wh.{name}" if parent else f".wh.{name}")


def opaque(path):
    """An opaque whiteout for the directory *path*."""
    return file(f"{path}/{OPAQUE}" if path else OPAQUE)


def test_a_layer_adds_and_replaces(stack):
    stack.apply(*BASE).apply(file("f", b"new", mode=0o600), file("d/s/c", b"c"))
    assert stack.shows() == {
        "d": D,
        "d/a": (*F, b"a"),
        "d/s": D,
        "d/s/b": (*F, b"b"),
        "d/s/c": (*F, b"c"),
        "f": ("file", "0o600", b"new"),
    }


@pytest.mark.parametrize(
    ("upper", "names"),
    [
        ([whiteout("f")], ["d", "d/a", "d/s", "d/s/b"]),
        ([whiteout("d")], ["f"]),
        ([whiteout("d/s")], ["d", "d/a", "f"]),
        ([whiteout("missing"), whiteout("no/such/thing"), whiteout("f/x")], None),
        ([opaque("d")], ["d", "f"]),
        ([opaque("d"), file("d/n")], ["d", "d/n", "f"]),
        ([opaque("d"), directory("d"), file("d/s/n")], ["d", "d/s", "d/s/n", "f"]),
        ([opaque("d/s"), whiteout("d/a")], ["d", "d/s", "f"]),
        ([opaque("")], []),
        ([opaque(""), file("n"), file("d/n")], ["d", "d/n", "n"]),
        ([whiteout("d"), directory("d"), file("d/n")], ["d", "d/n", "f"]),
        ([whiteout("d"), file("d/n")], ["d", "d/n", "f"]),
        ([whiteout("d"), file("d/s/n"), whiteout("f")], ["d", "d/s", "d/s/n"]),
        ([whiteout("d/a"), file("d/a", b"new"), whiteout("f"), directory("f")], None),
        ([whiteout("d"), symlink("d", "f")], ["d", "f"]),
        ([whiteout("d/s"), whiteout("d")], ["f"]),
        ([whiteout("d/s/b"), opaque("d"), directory("d")], ["d", "f"]),
        ([file(".wh..wh.aufs"), directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2")], None),
        ([directory(".wh..wh.orph"), file("d/.wh..wh.x/y/z", b"z")], None),
    ],
)
def test_whiteouts_hide_what_is_below_and_nothing_else_in_any_order(stack, tmp_path, upper, names):
    if names is None:
        names = ["d", "d/a", "d/s", "d/s/b", "f"]
    for number, order in enumerate(itertools.permutations(upper)):
        top = tmp_path / f"{number}"
        top.mkdir()
        each = type(stack)(top, overlay=stack.overlay)
        assert each.apply(*BASE).apply(*order).names() == names, order


def test_what_was_whited_out_stays_hidden_when_its_name_comes_back(stack):
    stack.apply(*BASE).apply(whiteout("d")).apply(directory("d", 0o700))
    assert stack.shows() == {"d": ("dir", "0o700"), "f": (*F, b"f")}


def test_a_whiteout_without_a_name(stack):
    for path in (".wh.", "d/.wh."):
        with pytest.raises(LayerError, match="whiteout has no name"):
            stack.apply(directory("d"), file(path))


KINDS = {
    "file": file("x", b"new"),
    "symlink": symlink("x", "elsewhere"),
    "fifo": Entry("x", Kind.FIFO, 0o600),
    "link": link("x", "target"),
    "dir": directory("x", 0o750),
}


@pytest.mark.parametrize("new", KINDS)
@pytest.mark.parametrize("old", [*KINDS, "full"])
@pytest.mark.parametrize("together", [True, False], ids=["one layer", "two layers"])
def test_the_last_of_a_name_replaces_what_was_there(stack, old, new, together):
    before = [directory("x", 0o711), file("x/in", b"in")] if old == "full" else [KINDS[old]]
    target = file("target", b"target")
    if together:
        stack.apply(target, *before, KINDS[new])
    else:
        stack.apply(target, *before).apply(KINDS[new])
    shown = stack.shows()
    assert shown["target"] == (*F, b"target")
    assert (
        shown["x"]
        == {
            "file": (*F, b"new"),
            "symlink": ("symlink", "elsewhere"),
            "fifo": ("fifo", "0o600"),
            "link": (*F, b"target"),
            "dir": ("dir", "0o750"),
        }[new]
    )
    inside = ["x/in"] if (old, new) == ("full", "dir") else []
    assert stack.names() == ["target", "x", *inside]


def test_a_directory_replaces_a_link_to_one_and_does_not_follow_it(stack):
    stack.apply(directory("real"), symlink("x", "real")).apply(directory("x"), file("x/f"))
    assert stack.names() == ["real", "x", "x/f"]
    assert stack.shows()["x"] == D


def test_a_directory_keeps_what_is_in_it_and_takes_the_new_attributes(stack):
    old = {"user.old": b"1", "user.both": b"1"}
    new = {"user.new": b"2", "user.both": b"2"}
    stack.apply(directory("x", 0o700, xattrs=old), file("x/f"))
    stack.apply(directory("x", 0o2775, mtime=5 * 10**9, xattrs=new))
    assert stack.shows()["x"] == ("dir", "0o2775")
    place = stack.place("x")
    found = {name: os.getxattr(place, name) for name in os.listxattr(place)}
    assert {k: v for k, v in found.items() if k != "user.overlay.opaque"} == new
    assert place.stat().st_mtime_ns == 5 * 10**9
    assert stack.names() == ["x", "x/f"]


def test_missing_directories_are_made_and_look_as_below(stack):
    stack.apply(directory("a", 0o750, mtime=7 * 10**9), directory("a/b", 0o2711, mtime=8 * 10**9))
    stack.apply(file("a/b/c/d", b"d"))
    assert stack.shows() == {
        "a": ("dir", "0o750"),
        "a/b": ("dir", "0o2711"),
        "a/b/c": D,
        "a/b/c/d": (*F, b"d"),
    }
    assert stack.place("a").stat().st_mtime_ns == 7 * 10**9
    assert stack.place("a/b").stat().st_mtime_ns == 8 * 10**9


@pytest.mark.parametrize(
    ("upper", "modes"),
    [
        ([whiteout("a"), opaque("a/b")], ["0o755", "0o755"]),
        ([whiteout("a"), file("a/b/f")], ["0o755", "0o755"]),
        ([opaque("a"), file("a/b/f")], ["0o750", "0o755"]),
        ([opaque(""), file("a/b/f")], ["0o755", "0o755"]),
        ([whiteout("a/b"), file("a/b/f")], ["0o750", "0o755"]),
        ([opaque("a/b"), file("a/b/f")], ["0o750", "0o2711"]),
        ([whiteout("a"), directory("a", 0o700), file("a/b/f")], ["0o700", "0o755"]),
    ],
)
def test_a_missing_directory_takes_nothing_from_what_the_layer_removes(
    stack, tmp_path, upper, modes
):
    for number, order in enumerate(itertools.permutations(upper)):
        top = tmp_path / f"{number}"
        top.mkdir()
        each = type(stack)(top, overlay=stack.overlay)
        each.apply(directory("a", 0o750), directory("a/b", 0o2711, mtime=8 * 10**9)).apply(*order)
        assert [each.shows()[path][1] for path in ("a", "a/b")] == modes, order
        if modes[1] == "0o755":
            assert each.place("a/b").stat().st_mtime_ns == 0, order


def test_a_missing_directory_that_is_a_link_below_is_followed(stack):
    """Debian's /lib and /var/run: hiding them would take the whole system away."""
    stack.apply(
        *(directory("usr"), directory("usr/lib"), file("usr/lib/libc", b"c"), directory("run")),
        *(symlink("lib", "usr/lib"), directory("var"), symlink("var/run", "/run")),
        symlink("alias", "lib/../lib"),
    )
    stack.apply(
        file("lib/new", b"n"), file("var/run/pid", b"1"), file("alias/x/y"), whiteout("lib/no")
    )
    shown = stack.shows()
    assert shown["lib"] == ("symlink", "usr/lib")
    assert shown["var/run"] == ("symlink", "/run")
    assert shown["usr/lib/new"] == (*F, b"n")
    assert shown["run/pid"] == (*F, b"1")
    assert {"usr/lib/libc", "usr/lib/x/y"} <= set(shown)
    stack.apply(whiteout("lib/libc"), link("var/run/hard", "lib/new"))
    assert "usr/lib/libc" not in stack.names()
    assert stack.shows()["run/hard"] == (*F, b"n")


def test_links_to_what_this_layer_and_those_below_have(stack):
    stack.apply(directory("d"), file("d/below", b"b", mode=0o755), symlink("s", "nowhere"))
    stack.apply(
        *(file("here", b"h"), link("one", "here"), link("d/two", "one")),
        *(link("three", "d/below", mode=0o755), link("four", "three", mode=0o755)),
        link("five", "s"),
    )
    shown = stack.shows()
    assert shown["d/two"] == shown["one"] == shown["here"] == (*F, b"h")
    assert shown["four"] == shown["three"] == shown["d/below"] == ("file", "0o755", b"b")
    assert shown["five"] == ("symlink", "nowhere")
    assert stack.place("d/two").stat().st_ino == stack.place("here").stat().st_ino
    assert stack.place("four").stat().st_ino == stack.place("d/below").stat().st_ino


def test_a_link_to_a_symlink_is_the_symlink(stack):
    stack.apply(file("f", b"f"), symlink("s", "f"), link("l", "s"))
    assert stack.shows()["l"] == ("symlink", "f")


@pytest.mark.parametrize(
    "members",
    [
        [link("l", "missing")],
        [link("l", "no/such/place")],
        [link("l", "l")],
        [file("l"), link("l", "l")],
        [directory("x"), link("l", "x")],
        [link("l", "d")],
        [whiteout("f"), link("l", "f")],
        [whiteout("d"), link("l", "d/a")],
        [directory("x"), file("x/f"), link("x", "x/f")],
        [file("x"), file("x/y")],
        [file("x"), directory("x/y/z")],
        [symlink("x", "x"), file("x/y")],
        [symlink("x", "y"), symlink("y", "x"), file("x/f")],
    ],
)
def test_what_cannot_be_is_a_layer_error(stack, members):
    with pytest.raises(LayerError):
        stack.apply(*BASE).apply(*members)


@pytest.mark.parametrize("reverse", [False, True])
def test_times_of_directories_are_those_of_the_layer_whatever_comes_after(stack, reverse):
    parts = [
        *(directory("a", mtime=10**9), directory("a/b", mtime=2 * 10**9)),
        *(file("a/b/c", b"c", mtime=3 * 10**9 + 7 * 10**8), symlink("a/l", "b", mtime=4 * 10**9)),
    ]
    stack.apply(*(reversed(parts) if reverse else parts))
    stack.apply(whiteout("a/missing"), file("a/b/new", mtime=9 * 10**9))
    times = {path: os.lstat(stack.place(path)).st_mtime_ns // 10**9 for path in stack.names()}
    assert times == {"a": 1, "a/b": 2, "a/b/c": 3, "a/l": 4, "a/b/new": 9}


def test_a_directory_that_loses_what_is_below_keeps_its_time(stack):
    stack.apply(symlink("a/b/l", "x"), directory("a/c/d"))
    stack.apply(file("a/c/f", b"f"), whiteout("a"))
    assert stack.names() == ["a", "a/c", "a/c/f"]
    assert [stack.place(path).stat().st_mtime_ns for path in ("a", "a/c")] == [0, 0]
