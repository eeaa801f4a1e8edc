"""Whatever a layer holds: with ownership overrides it is written again with root's bytes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocitool.drivers import select
from ocitool.drivers.conformance.layers import Member, tar
from ocitool.drivers.driver import Driver
from ocitool.errors import OcitoolError
from ocitool.layer.beneath import remove_tree
from ocitool.layer.entry import WHITEOUT, Entry, Kind, split
from tests.fixtures.examples import examples

A, B = "a" * 64, "b" * 64
PATHS = [f"{top}{name}" for top in ("", "d/", "d/e/", "i/") for name in ("d", "e", "f", "é", "x")]
IDS = st.sampled_from([0, 1, 33, 1000, 65_534, (1 << 32) - 2])
KINDS = st.sampled_from(
    [Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.FIFO, Kind.CHAR, Kind.BLOCK,
     Kind.HARDLINK, WHITEOUT],
)  # fmt: skip
PICKS = st.tuples(
    st.sampled_from(PATHS),
    KINDS,
    st.integers(0, 0o7777),
    IDS,
    IDS,
    st.integers(0, 3) | st.integers(-(10**9), 4 * 10**9),
    st.sampled_from([{}, {"user.note": b"\0"}]),
)


@st.composite
def layers(draw: st.DrawFn, lowest: bool = False) -> list[Member]:
    """A layer in which every name comes once, and what is no directory has nothing below it.

    The *lowest* has all directories: one that is only implied gets the time at which it is made.
    """
    found: dict[str, Member] = {}
    for path in ("d", "d/e", "i") if lowest else ():
        fields = {"uid": draw(IDS), "gid": draw(IDS), "mtime": draw(st.integers(0, 9)) * 10**9}
        found[path] = Entry(path, Kind.DIRECTORY, 0o755, **fields), b""
    for path, kind, mode, uid, gid, mtime, values in draw(st.lists(PICKS, max_size=12)):
        above = split(path)[0]
        while above and (above not in found or found[above][0].kind == Kind.DIRECTORY):
            above = split(above)[0]
        taken = path in found or any(other.startswith(path + "/") for other in found)
        if above or taken:
            continue
        fields = {"mode": mode, "uid": uid, "gid": gid, "mtime": mtime * 10**9}
        if kind == WHITEOUT:
            parent = split(path)[0]
            name = f"{parent}/{WHITEOUT}gone".lstrip("/")
            found[name] = Entry(name, Kind.FILE), b""
        elif kind == Kind.HARDLINK:
            links = [e.path for e, _ in found.values() if linkable(e)]
            if links:
                found[path] = Entry(path, kind, link=draw(st.sampled_from(links)), **fields), b""
        elif kind == Kind.SYMLINK:
            found[path] = Entry(path, kind, link="nowhere", **{**fields, "mode": 0o777}), b""
        elif kind in (Kind.CHAR, Kind.BLOCK):
            found[path] = Entry(path, kind, device=(1 + mode, 300), **fields), b""
        else:
            values = {} if kind == Kind.FIFO else values
            size = {"size": 3} if kind == Kind.FILE else {}
            found[path] = (
                Entry(path, kind, xattrs=values, **size, **fields),
                b"123"[: len(size) * 3],
            )
    return list(found.values())


LOWEST: list[Member] = [(Entry(path, Kind.DIRECTORY, 0o755), b"") for path in ("d", "d/e", "i")]


def described_anew(kind: str) -> list[Member]:
    """A link or a pipe with names in three directories; the last gives it another owner."""
    first = Entry("d/x", kind, 0o777, link="nowhere" if kind == Kind.SYMLINK else "")
    names = [Entry(path, Kind.HARDLINK, link="d/x") for path in ("d/d", "i/f")]
    last = Entry("e", Kind.HARDLINK, 0o777, uid=33, gid=1, mtime=10**9, link="d/x")
    return [(entry, b"") for entry in (first, *names, last)]


def linkable(entry: Entry) -> bool:
    return entry.kind not in (Kind.DIRECTORY, Kind.HARDLINK) and WHITEOUT not in entry.path


@contextlib.contextmanager
def driver(name: str) -> Iterator[Driver]:
    home = tempfile.mkdtemp(prefix="driver-")
    made = select.make(name, home)
    try:
        yield made
    finally:
        made.close()
        remove_tree(home)


def written(made: Driver, low: list[Member], high: list[Member], clamp: int | None) -> list[bytes]:
    """What the layers are written as again: the lower one, and the upper one on it."""
    found = []
    try:
        made.begin("low", ())
        made.apply("low", (), tar(low))
        found.append(diff(made, "low", (), None))
        made.commit("low", A)
        made.begin("high", (A,))
        made.apply("high", (A,), tar(high))
        found.append(diff(made, "high", (A,), clamp))
        found.append(diff(made, "high", (A,), None))  # what was clamped has stayed so
        made.commit("high", B)
        assert [*made.check(A, (), tar(low))] == []
    except OcitoolError as error:
        found.append(str(error).encode())
    finally:
        for key in list(made.trees()):
            made.discard(key)
        for layer in (B, A):
            made.remove(layer)
    return found


def diff(made: Driver, key: str, parents: tuple[str, ...], clamp: int | None) -> bytes:
    parts: list[bytes] = []
    made.diff(key, parents, parts.append, clamp=clamp)
    return b"".join(parts)


@pytest.mark.usefixtures("root_only", "user_namespaces")
@pytest.mark.parametrize("name", ["overlay", "vfs"])
def test_a_layer_is_written_as_root_writes_it(name: str) -> None:
    with driver(name) as roots, driver(f"{name}.aside") as aside:

        @examples(60)
        @given(layers(lowest=True), layers(), st.none() | st.just(2))
        @example(LOWEST, described_anew(Kind.SYMLINK), None)
        @example(LOWEST, described_anew(Kind.FIFO), None)
        def compare(low: list[Member], high: list[Member], clamp: int | None) -> None:
            assert written(aside, low, high, clamp) == written(roots, low, high, clamp)

        compare()
    assert os.geteuid() == 0
