"""Hostile layers: a part of the conformance suite.

A driver writes, reads and links nothing outside of its own directory, whatever a layer contains.
Names and links lead to the root of the layers, as in a chroot.  What cannot be is refused with an
`OcitoolError`, and a refused layer leaves nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ocitool.drivers.conformance.harness import DriverBench
from ocitool.drivers.conformance.layers import (
    Member,
    directory,
    fifo,
    file,
    hardlink,
    stream,
    symlink,
    tar,
)
from ocitool.layer.entry import Entry, Kind

A, B, C = (letter * 64 for letter in "abc")  # names of layers
_SECRET: Final = "secret"
_UP: Final = "../" * 40

#: Each takes the path of a directory outside and the owner of the layers.
Attack = Callable[[str, tuple[int, int]], list[Member]]

#: What stays in the layers, in one and when the first member lies in a layer below; the name is
#: that of the file that is shown instead of one outside.
INSIDE: Final[dict[str, tuple[Attack, str]]] = {
    "a file through a link that leads up": (
        lambda out, me: [symlink("e", f"{_UP}{out}", me), file(f"e/{_SECRET}", b"mine", me)],
        _SECRET,
    ),
    "a file through an absolute link": (
        lambda out, me: [symlink("e", out, me), file(f"e/{_SECRET}", b"mine", me)],
        _SECRET,
    ),
    "a file through two links": (
        lambda out, me: [symlink("e", f"x/{os.path.basename(out)}", me),
                         symlink("x", f"{_UP}{out}/..", me), file("e/new", b"mine", me)],
        "new",
    ),
    "a directory through a link that leads up": (
        lambda out, me: [symlink("e", f"{_UP}{out}", me), directory("e/new", me)],
        "new",
    ),
    "a pipe through a link that leads up": (
        lambda out, me: [symlink("e", f"{_UP}{out}", me), fifo("e/new", me)],
        "new",
    ),
}  # fmt: skip

#: What is refused, in one layer and when the first member lies in a layer below.
REFUSED: Final[dict[str, Attack]] = {
    "another name for a file outside": lambda out, me: [
        symlink("e", f"{_UP}{out}", me), hardlink("l", f"e/{_SECRET}", me)
    ],
    "a directory that is a link to itself": lambda out, me: [
        symlink("e", "e", me), file("e/new", b"owned", me)
    ],
    "a link to a name that is not there": lambda out, me: [
        directory("e", me), hardlink("l", "e/none", me)
    ],
    "another name for a directory": lambda out, me: [directory("e", me), hardlink("l", "e", me)],
    "a file that is a link to itself": lambda out, me: [directory("e", me), hardlink("l", "l", me)],
    "the whiteout has no name": lambda out, me: [directory("e", me), file("e/.wh.", b"", me)],
    "a whiteout of the directory above": lambda out, me: [
        directory("e", me), file("e/.wh...", b"", me)
    ],
    "a whiteout of the directory itself": lambda out, me: [
        directory("e", me), file("e/.wh..", b"", me)
    ],
    "a device that reads as a whiteout": lambda out, me: [
        directory("e", me), (Entry("e/f", Kind.CHAR), b"")
    ],
}  # fmt: skip


class DriverHostile(DriverBench):
    """What a driver must refuse."""

    def test_nothing_leads_out_of_a_layer(self) -> None:
        for name, attack in REFUSED.items():
            with _outside() as out, self.driver() as driver:
                try:
                    members = attack(out, self.owner)
                    self.refuses(driver, tar(members).getvalue())
                    self.layer(driver, A, (), members[:1])
                    self.refuses(driver, tar(members[1:]).getvalue(), (A,))
                    assert [*self.look(driver, (A,))] == ["e"]
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from error

    def test_links_lead_to_the_root_of_the_layers(self) -> None:
        for name, (attack, shown) in INSIDE.items():
            with _outside() as out, self.driver() as driver:
                try:
                    members = attack(out, self.owner)
                    self.layer(driver, A, (), members)
                    assert f"{out[1:]}/{shown}" in self.look(driver, (A,))
                    self.layer(driver, B, (), members[:1])
                    self.layer(driver, C, (B,), members[1:])
                    assert f"{out[1:]}/{shown}" in self.look(driver, (B, C))
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from error

    def test_names_that_lead_out_lead_to_the_root(self) -> None:
        good = tar([file("a/b/" + "c" * 9, b"mine", self.owner)]).getvalue()
        with _outside(), self.driver() as driver:
            for at, (name, shown) in enumerate(
                (
                    (b"/a/b/ccccccccc", "a/b/ccccccccc"),
                    (b"a/../../cccccc", "cccccc"),
                    (b"a/../../c/./cc", "c/cc"),
                    (b"//a/../x", "x"),
                )
            ):
                driver.begin("t", ())
                driver.apply("t", (), stream(_renamed(good, name)))
                driver.commit("t", f"{at:064}")
                assert shown in self.look(driver, (f"{at:064}",))
            for bad in (b"..", b"/", b"a\n/../.."):
                self.refuses(driver, _renamed(good, bad))

    def test_a_link_is_replaced_and_never_written_through(self) -> None:
        me = self.owner
        with _outside() as out, self.driver() as driver:
            members = [symlink("l", f"{out}/{_SECRET}", me), file("l", b"mine", me, mode=0o666)]
            self.layer(driver, A, (), members)
            self.layer(driver, B, (A,), members[:1])
            assert self.look(driver, (A, B))["l"]["link"] == f"{out}/{_SECRET}"

    def test_xattrs_of_a_driver_cannot_be_forged(self) -> None:
        me = self.owner
        names = ("trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque",
                 "trusted.overlay.redirect", "user.overlay.whiteout", "trusted.x")  # fmt: skip
        forged = dict.fromkeys(names, b"y")
        with self.driver() as driver:
            self.layer(driver, A, (), [directory("d", me), file("d/f", b"f", me)])
            marked = directory("d", me)[0]._replace(xattrs=forged)
            self.layer(driver, B, (A,), [(marked, b""), file("g", b"", me, xattrs=forged)])
            seen = self.look(driver, (A, B))
            assert sorted(seen) == ["d", "d/f", "g"]
            assert not any("xattrs" in entry for entry in seen.values())

    def test_an_image_of_a_file_system_is_no_layer(self) -> None:
        with self.driver() as driver:
            for magic, at in ((0xE0F5E1E2, 1024), (0x73717368, 0)):  # EROFS, squashfs
                image = bytearray(8192)
                image[at : at + 4] = magic.to_bytes(4, "little")
                if at == 0:
                    self.refuses(driver, bytes(image))
                else:  # its first block is a tar's end: nothing of what follows is shown
                    driver.begin("t", ())
                    driver.apply("t", (), stream(bytes(image)))
                    driver.commit("t", A)
                    assert self.look(driver, (A,)) == {}

    def test_a_layer_is_no_bomb(self) -> None:
        me = self.owner
        deep = file("/".join("d" * 257), b"", me)
        many = file("f", b"", me, xattrs={f"user.{at}": b"x" * 60_000 for at in range(20)})
        with self.driver() as driver:
            for member in (deep, many):
                self.refuses(driver, tar([member]).getvalue())


@contextmanager
def _outside() -> Iterator[str]:
    """Make a directory with a file in it; at the end both must be as they were."""
    with tempfile.TemporaryDirectory(prefix="outside-") as place:
        secret = f"{place}/{_SECRET}"
        with open(secret, "w") as file:
            file.write(_SECRET)
        os.chmod(place, 0o777)
        os.chmod(secret, 0o666)
        yield place
        assert os.listdir(place) == [_SECRET], os.listdir(place)
        with open(secret) as file:
            assert file.read() == _SECRET
        assert os.stat(secret).st_nlink == 1


def _renamed(data: bytes, name: bytes) -> bytes:
    """Return the tar *data* with another name in its first header."""
    header = bytearray(data[:512])
    header[:100] = name.ljust(100, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]
