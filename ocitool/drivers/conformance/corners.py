"""Layers that are valid but unusual: a part of the conformance suite."""

from __future__ import annotations

from typing import Final

from ocitool.drivers.conformance import layers
from ocitool.drivers.conformance.harness import DriverBench
from ocitool.drivers.conformance.layers import (
    directory,
    fifo,
    file,
    hardlink,
    opaque,
    symlink,
    tar,
    whiteout,
)
from ocitool.layer.tar.header import BLOCK

A, B, C = (letter * 64 for letter in "abc")  # names of layers
_LONGEST_LINK: Final = 1023  # bytes; Linux has 4095 and XFS no more than these
_MANY: Final = 3000
_SECOND: Final = 1_000_000_000


class DriverCorners(DriverBench):
    """How a driver must unpack unusual layers."""

    def test_a_whiteout_without_a_lower_entry_leaves_nothing(self) -> None:
        me = self.owner
        odd = [
            directory("new", me),
            whiteout("new/never", me),
            whiteout("implied/never", me),
            whiteout("never", me),
            directory("old/sub", me),
            whiteout("old/sub/never", me),
            opaque("hidden", me),
            whiteout("hidden/f", me),
        ]
        low = [directory("old", me), directory("hidden", me), file("hidden/f", b"f", me)]
        with self.driver() as driver:
            self.layer(driver, A, (), odd[:1] + odd[1:2])
            assert sorted(self.look(driver, (A,))) == ["new"]
            self.layer(driver, B, (A,), low)
            self.layer(driver, C, (A, B), odd)
            assert sorted(self.look(driver, (A, B, C))) == ["hidden", "new", "old", "old/sub"]
            assert list(driver.check(C, (A, B), tar(odd))) == []

    def test_a_directory_that_no_layer_describes_is_the_same_everywhere(self) -> None:
        me = self.owner
        with self.driver() as driver:
            self.layer(driver, A, (), [file("a/b/f", b"f", me)])
            self.layer(driver, B, (A,), [file("a/c/f", b"f", me)])
            seen = self.look(driver, (A, B))
            assert {seen[path]["time"] for path in ("a", "a/b", "a/c")} == {0}
            assert {seen[path]["mode"] for path in ("a", "a/b", "a/c")} == {oct(0o40755)}

    def test_a_directory_after_a_file_of_its_name_shows_no_lower_entries(self) -> None:
        me = self.owner
        low = [
            directory("a", me),
            file("a/low", b"", me),
            directory("b", me),
            file("b/low", b"", me),
        ]
        twice = [
            file("a", b"", me),
            directory("a", me),
            file("a/f", b"", me),
            symlink("b", "a", me),
        ]
        with self.driver() as driver:
            self.layer(driver, A, (), low)
            self.layer(driver, B, (A,), [*twice, directory("b", me)])
            assert sorted(self.look(driver, (A, B))) == ["a", "a/f", "b"]

    def test_the_root_directory_keeps_the_attributes_of_its_layer(self) -> None:
        top = layers.directory("", self.owner, 0o711)
        top = (top[0]._replace(xattrs={"user.top": b"1"}), b"")
        with self.driver() as driver:
            self.layer(driver, A, (), [top])
            first = self.top(driver, (A,))
            assert first["xattrs"] == {"user.top": b"1".hex()}
            assert (first["mode"], first["owner"]) == (oct(0o40711), [*self.owner])
            self.layer(driver, B, (A,), [file("f", b"", self.owner)])
            assert self.top(driver, (A, B)) == first
            driver.begin("t", (A, B))
            driver.commit("t", C)
            assert self.top(driver, (A, B, C)) == first

    def test_a_layer_without_a_byte_is_empty(self) -> None:
        with self.driver() as driver:
            for name, below in ((A, ()), (B, (A,))):
                driver.begin("t", below)
                driver.apply("t", below, layers.stream(b""))
                driver.commit("t", name)
                assert self.look(driver, (*below, name)) == {}
                assert list(driver.check(name, below, layers.stream(b""))) == []

    def test_a_tar_may_end_with_its_last_file(self) -> None:
        members = [file("f", b"x" * 1000, self.owner), file("g", b"", self.owner)]
        data = tar(members).getvalue()
        whole = data[: len(data) - 2 * BLOCK]  # without the blocks that end an archive
        assert whole[-BLOCK:][:1] == b"g"
        cut = data[: 2 * BLOCK]  # in the middle of a file
        with self.driver() as driver:
            driver.begin("t", ())
            driver.apply("t", (), layers.stream(whole))
            driver.commit("t", A)
            assert self.look(driver, (A,)) == layers.described(members)
            self.refuses(driver, cut)

    def test_names_and_links_may_be_as_long_as_linux_has_them(self) -> None:
        me = self.owner
        deep = "/".join("d" * 200)
        members = [
            file("n" * 255, b"n", me),
            symlink("link", "l" * _LONGEST_LINK, me),
            symlink("wide", "\u00e4" * (_LONGEST_LINK // 2), me),
            *(directory(deep[: 2 * at + 1], me) for at in range(200)),
            file(f"{deep}/{'n' * 255}", b"deep", me),
        ]
        with self.driver() as driver:
            self.layer(driver, A, (), members)
            assert self.look(driver, (A,)) == layers.described(members)
            # Too long in bytes, though not in characters.
            self.refuses(driver, tar([symlink("link", "\u00e4" * 4095, me)]).getvalue())

    def test_a_directory_may_hold_thousands(self) -> None:
        me = self.owner
        members = [directory("d", me)]
        members += [file(f"d/{at:05}{'n' * (at % 200)}", b"%d" % at, me) for at in range(_MANY)]
        with self.driver() as driver:
            self.layer(driver, A, (), members)
            assert self.look(driver, (A,)) == layers.described(members)

    def test_of_the_names_of_a_file_the_last_header_counts(self) -> None:
        me, other = self.owner, (self.owner[0] + 1, self.owner[1] + 2)
        if not self.foreign_ids:
            other = me
        members = [
            file("f", b"f", me, mode=0o644, xattrs={"user.a": b"1", "user.b": b"1"}),
            hardlink("g", "f", me, mode=0o4711),
            hardlink("h", "g", other, mode=0o4700, xattrs={"user.b": b"2"}),
            symlink("l", "f", me),
            hardlink("m", "l", other, mode=0o600),
            fifo("p", me),
            hardlink("q", "p", other, mode=0o640),
        ]
        members = [
            (entry._replace(mtime=entry.mtime + at * _SECOND), content)
            for at, (entry, content) in enumerate(members)
        ]
        with self.driver() as driver:
            self.layer(driver, A, (), members)
            seen = self.look(driver, (A,))
            assert seen["f"] == seen["g"] == seen["h"]
            assert (seen["f"]["mode"], seen["f"]["owner"]) == (oct(0o104700), [*other])
            assert seen["f"]["time"] == layers.TIME + 2
            assert seen["f"]["xattrs"] == {"user.a": b"1".hex(), "user.b": b"2".hex()}
            assert seen["l"] == seen["m"] == {"mode": oct(0o120777), "owner": [*other], "link": "f"}
            assert seen["p"] == seen["q"]
            assert (seen["p"]["mode"], seen["p"]["owner"]) == (oct(0o10640), [*other])
            assert seen["p"]["time"] == layers.TIME + 6
            assert list(driver.check(A, (), tar(members))) == []

    def test_a_hard_link_changes_a_file_below_but_not_its_other_names(self) -> None:
        me = self.owner
        low = [file("f", b"f", me, mode=0o644), hardlink("g", "f", me), symlink("l", "f", me)]
        low += [hardlink("m", "l", me), fifo("p", me), hardlink("q", "p", me, mode=0o600)]
        high = [hardlink("h", "f", me, mode=0o600), hardlink("n", "l", me)]
        high += [hardlink("r", "p", me, mode=0o640)]
        with self.driver() as driver:
            self.layer(driver, A, (), low)
            before = self.look(driver, (A,))
            self.layer(driver, B, (A,), high)
            seen = self.look(driver, (A, B))
            assert seen["f"] == seen["h"] == {**before["f"], "mode": oct(0o100600)}
            assert {**seen["g"], "linked": True} == before["g"]
            assert seen["l"] == seen["m"] == seen["n"] == before["l"]
            assert seen["p"] == seen["r"] == {**before["p"], "mode": oct(0o10640)}
            assert seen["q"] == before["q"]
            assert self.look(driver, (A,)) == before
            assert list(driver.check(B, (A,), tar(high))) == []

    def test_a_file_may_have_thousands_of_names(self) -> None:
        me = self.owner
        members = [file("f", b"f", me), *(hardlink(f"l{at}", "f", me) for at in range(_MANY))]
        with self.driver() as driver:
            self.layer(driver, A, (), members)
            assert self.look(driver, (A,)) == layers.described(members)
            assert driver.usage(A).inodes == 2
