"""Random layers as images: read back they are what was written, and the kernel shows the same."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import LayerError
from ocitool.layer.entry import Entry, Kind
from ocitool.layer.erofs.node import Device, Node
from ocitool.layer.erofs.reader import ErofsImage
from ocitool.layer.erofs.writer import write
from tests.fixtures.erofs import Images, no_fsck, shown, unmountable
from tests.fixtures.examples import examples
from tests.unit.layer.tars import mine

NAMES = st.one_of(
    st.text("ab.\u00e4-", min_size=1, max_size=3).filter(lambda n: n not in (".", "..")),
    st.integers(100, 255).map(lambda n: "n" * n),
)
IDS = st.sampled_from([0, 1, 65_536, (1 << 32) - 2])
TIMES = st.integers(-(10**18), 4 * 10**18)
#: linux/capability.h, struct vfs_cap_data of revision 2: cap_net_raw, effective
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
XATTRS = st.fixed_dictionaries(
    {},
    optional={
        "user.a": st.binary(max_size=900),
        "user.bb": st.binary(max_size=900),
        "security.capability": st.just(CAPABILITY),
        "trusted.t": st.binary(max_size=9),
    },
)
KINDS = st.one_of(
    st.tuples(st.just(Kind.FILE), st.binary(max_size=2000)),
    st.tuples(st.just(Kind.SYMLINK), st.text("xy/", min_size=1, max_size=900)),
    st.tuples(st.just(Kind.DIRECTORY), st.none()),
    st.tuples(st.just(Kind.FIFO), st.none()),
    st.tuples(st.just(Kind.BLOCK), st.tuples(st.integers(0, 4095), st.integers(0, 1048575))),
)
ENTRIES = st.lists(
    st.tuples(
        st.lists(NAMES, min_size=1, max_size=3), KINDS, st.integers(0, 0o7777), IDS, IDS, TIMES,
        XATTRS,
    ),
    max_size=25,
)  # fmt: skip


def members(drawn: list[tuple]) -> list:
    """Members of a tar: no path twice, and nothing beneath what is no directory."""
    found: dict[str, object] = {}
    for names, (kind, value), mode, uid, gid, mtime, xattrs in drawn:
        path = "/".join(names)
        above = ["/".join(names[:n]) for n in range(1, len(names))]
        taken = path in found or any(key.startswith(path + "/") for key in found)
        if taken or any(_kind(found[p]) != Kind.DIRECTORY for p in above if p in found):
            continue
        fields = {"mode": mode, "uid": uid, "gid": gid, "mtime": mtime, "xattrs": xattrs}
        if kind == Kind.FILE:
            entry = Entry(path, kind, size=len(value), **fields)
            found[path] = (entry, value) if value else entry
        elif kind == Kind.SYMLINK:
            found[path] = Entry(path, kind, link=value, **{**fields, "mode": 0o777, "xattrs": {}})
        elif kind == Kind.BLOCK:
            found[path] = Entry(path, kind, device=value, **{**fields, "xattrs": {}})
        else:
            found[path] = Entry(path, kind, **{**fields, "xattrs": {}})
    return list(found.values())


def _kind(member: object) -> str:
    return (member[0] if type(member) is tuple else member).kind


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ocitool-") as name:
        yield Path(name)


def expected(entry: Entry) -> tuple:
    """What the kernel must say of an entry: times in layers are whole seconds."""
    seconds = entry.mtime // 10**9
    return entry.mode, entry.uid, entry.gid, seconds, entry.size, entry.link, entry.device


def seen(place: Path) -> tuple:
    """The same of a file."""
    state = os.lstat(place)
    return (
        stat.S_IMODE(state.st_mode), state.st_uid, state.st_gid, state.st_mtime_ns // 10**9,
        state.st_size if stat.S_ISREG(state.st_mode) else 0,
        os.readlink(place) if stat.S_ISLNK(state.st_mode) else "",
        (os.major(state.st_rdev), os.minor(state.st_rdev)),
    )  # fmt: skip


@examples(60)
@given(ENTRIES)
def test_the_kernel_shows_what_is_in_the_tar(drawn: list) -> None:
    with scratch() as top:
        if reason := unmountable(str(top.parent)):
            pytest.skip(reason)
        wanted = members(drawn)
        images = Images(top)
        images.add(mine(*wanted))
        (top / "shown").mkdir()
        with shown(top / "0.image", [str(top / "0.tar")], top / "shown") as target:
            for member in wanted:
                entry, content = member if type(member) is tuple else (member, b"")
                place = target / entry.path
                assert seen(place) == expected(entry)
                if entry.kind == Kind.FILE:
                    assert place.read_bytes() == content
                    found = {name: os.getxattr(place, name) for name in os.listxattr(place)}
                    kept = {k: v for k, v in entry.xattrs.items() if not k.startswith("trusted.")}
                    assert found == kept
            paths = {str(p.relative_to(target)) for p in target.rglob("*")}
            named = {(m[0] if type(m) is tuple else m).path for m in wanted}
            implied = {str(up) for path in named for up in Path(path).parents} - {"."}
            assert paths == named | implied


@examples(40)
@given(ENTRIES)
def test_fsck_finds_no_fault_and_the_same_entries(drawn: list) -> None:
    """Contents and attributes are the kernel's to show: fsck 1.8.6 reads contents from the image
    itself, not from the tar, and loses attributes on the way out.
    """
    with scratch() as top:
        if os.geteuid() or (reason := no_fsck()):
            pytest.skip(reason if not os.geteuid() else "needs root, to make what it extracts")
        wanted = members(drawn)
        images = Images(top)
        images.add(mine(*wanted))
        options = [f"--device={top}/0.tar", f"--extract={top}/out"]
        done = subprocess.run(
            ["fsck.erofs", *options, str(top / "0.image")], capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        for member in wanted:
            entry = member[0] if type(member) is tuple else member
            assert seen(top / "out" / entry.path) == expected(entry)


NODES = st.recursive(
    st.builds(
        lambda kind, uid, mtime, size, offset, xattrs: Node(
            kind | 0o640, uid, 7, mtime, size=size if kind == stat.S_IFREG else 0,
            offset=offset * 512 if size and kind == stat.S_IFREG else 0, xattrs=xattrs,
        ),
        st.sampled_from([stat.S_IFREG, stat.S_IFIFO]),
        IDS,
        TIMES,
        st.integers(0, 3000),
        st.integers(0, 90),
        XATTRS,
    ),
    lambda inner: st.dictionaries(NAMES, inner, max_size=12).map(
        lambda named: folder({os.fsencode(name): node for name, node in named.items()})
    ),
    max_leaves=60,
)  # fmt: skip


def folder(children: dict[bytes, Node]) -> Node:
    node = Node(stat.S_IFDIR | 0o755)
    node.children = children
    return node


def described(node: Node) -> object:
    return (
        node.mode, node.uid, node.gid, node.mtime, node.size, node.offset, dict(node.xattrs),
        {name: described(child) for name, child in node.children.items()},
    )  # fmt: skip


@examples(60)
@given(st.dictionaries(NAMES, NODES, max_size=40))
def test_an_image_is_read_back_as_it_was_written(named: dict[str, Node]) -> None:
    root = folder({os.fsencode(name): node for name, node in named.items()})
    devices = (Device(tag="", size=0), Device(tag="a" * 64, size=100 * 512))
    todo = [root]
    while todo:
        node = todo.pop()
        node.device = 1 if node.size else 0
        todo.extend(node.children.values())
    with scratch() as top:
        data = write(root, devices)
        assert data == write(root, devices)
        (top / "image").write_bytes(data)
        with ErofsImage(str(top / "image")) as image:
            assert [device.tag for device in image.devices] == ["", "a" * 64]
            assert described(image.tree((0, 1))) == described(root)
            assert len(list(image.nodes())) == image.inodes


@examples(150)
@given(ENTRIES, st.data())
def test_a_corrupt_image_is_refused(drawn: list, data: st.DataObject) -> None:
    with scratch() as top:
        whole = Images(top).add(mine(*members(drawn))).image
        at = data.draw(st.integers(0, len(whole) - 1))
        flipped = bytes([whole[at] ^ data.draw(st.integers(1, 255))])
        cut = data.draw(st.booleans())
        broken = whole[:at] if cut else whole[:at] + flipped + whole[at + 1 :]
        (top / "0.image").write_bytes(broken)
        with pytest.raises(LayerError), ErofsImage(str(top / "0.image")) as image:
            image.verify()
