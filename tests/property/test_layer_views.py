"""Random stacks: unpacked by either kind of driver, as EROFS images, or only looked into.

One engine makes all of them (`ocitool.layer.apply_changeset`), so all show or refuse the same:
links in the way, hard links to anything and through anything, whiteouts, and what has no entry.
And a check finds no difference.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from ocitool.drivers.fullcopy import copy_tree
from ocitool.errors import LayerError
from ocitool.layer.changes.verify import compare as verify
from ocitool.layer.entry import OPAQUE, WHITEOUT, Entry, Kind, kind_of, order, split
from ocitool.layer.erofs.node import Node
from ocitool.layer.index.index import LayerIndex, index_of, parse
from ocitool.layer.index.merged import ImageTree
from ocitool.layer.unpack.extract import apply
from ocitool.layer.unpack.whiteouts import OverlayWhiteouts, Removal
from tests.fixtures.erofs import Images
from tests.fixtures.examples import examples
from tests.property.test_layer_trees import prefixes, scratch
from tests.unit.layer.conftest import merged
from tests.unit.layer.tars import mine

SECOND = 10**9
PATHS = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join)
TARGETS = st.sampled_from(
    ["a", "b", "../a", "../b", "/a", "/a/b", "/b/a", "nowhere", "/", "..", "../..", "../../../b",
     "a/..", "b/../..", "/a/../b", "no/../a"]
)  # fmt: skip
MODES = st.sampled_from([0o644, 0o4755, 0o600])
OWNERS = st.sampled_from([0, 7] if os.geteuid() == 0 else [os.geteuid()])
XATTRS = st.sampled_from([{}, {}, {"user.a": b"1"}, {"user.b": b""}])
MEMBERS = st.one_of(
    st.builds(
        lambda path, content, mode, uid, xattrs: (
            Entry(path, Kind.FILE, mode, uid, xattrs=xattrs),
            content,
        ),
        PATHS,
        st.binary(max_size=3),
        MODES,
        OWNERS,
        XATTRS,
    ),
    st.builds(
        lambda path, mode, uid, xattrs: (
            Entry(path, Kind.DIRECTORY, mode, uid, xattrs=xattrs),
            b"",
        ),
        PATHS,
        st.sampled_from([0o755, 0o700, 0o2711]),
        OWNERS,
        XATTRS,
    ),
    st.builds(
        lambda path, link, uid: (Entry(path, Kind.SYMLINK, 0o777, uid, link=link), b""),
        PATHS,
        TARGETS,
        OWNERS,
    ),
    st.builds(
        lambda path, mode, uid: (Entry(path, Kind.FIFO, mode, uid), b""), PATHS, MODES, OWNERS
    ),
    st.builds(
        lambda path, link, mode, uid, xattrs: (
            Entry(path, Kind.HARDLINK, mode, uid, link=link, xattrs=xattrs),
            b"",
        ),
        PATHS,
        PATHS,
        MODES,
        OWNERS,
        XATTRS,
    ),
    st.builds(lambda path: (Entry(whiteout_of(path), Kind.FILE), b""), PATHS),
    st.builds(
        lambda path: (Entry(f"{path}/{OPAQUE}".lstrip("/"), Kind.FILE), b""), PATHS | st.just("")
    ),
)
LAYER = st.lists(MEMBERS, min_size=1, max_size=7)
Member = tuple[Entry, bytes]
#: What the kernel gives attributes of users to.
ATTRIBUTED = (Kind.FILE, Kind.DIRECTORY)


def whiteout_of(path: str) -> str:
    directory, name = split(path)
    return f"{directory}/{WHITEOUT}{name}".lstrip("/")


def tar_of(members: list[Member]) -> bytes:
    """The tar of *members*, each later than the one before if it has no time of its own."""
    dated = [
        (entry._replace(mtime=entry.mtime or (at + 1) * SECOND), content)
        for at, (entry, content) in enumerate(members)
    ]
    return mine(*dated)


def refusal(unpack: Callable[..., object], *arguments: object) -> str:
    """Why a layer is refused; ``""`` if it is not."""
    try:
        unpack(*arguments)
    except LayerError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def seen_owner(uid: int) -> int:
    """The owner: of a user's trees 0, for what no entry describes is the user's there."""
    return uid if os.geteuid() == 0 else 0


def on_disk(trees: list[Path]) -> dict[str, object]:
    """What *trees* show together, the lowest first."""
    found: dict[str, object] = {}
    for path, place in merged(trees).items():
        state = os.lstat(place)
        kind = kind_of(state.st_mode)
        mode = 0 if kind == Kind.SYMLINK else stat.S_IMODE(state.st_mode)
        content = place.read_bytes() if kind == Kind.FILE else b""
        link = os.readlink(place) if kind == Kind.SYMLINK else ""
        names = os.listxattr(place) if kind in ATTRIBUTED else []
        values = {name: os.getxattr(place, name) for name in names if "overlay" not in name}
        found[path] = (
            kind,
            mode,
            seen_owner(state.st_uid),
            state.st_mtime_ns // SECOND,
            link,
            content,
            values,
        )
    return found


def in_images(images: Images) -> dict[str, object]:
    """What *images* show together."""
    root, tars = images.merged_tree()

    def walk(prefix: str, directory: Node) -> Iterator[tuple[str, object]]:
        for name, node in directory.children.items():
            path, kind = prefix + os.fsdecode(name), kind_of(node.mode)
            mode = 0 if kind == Kind.SYMLINK else stat.S_IMODE(node.mode)
            content = tars[node.device][node.offset : node.offset + node.size]
            content = content if kind == Kind.FILE else b""
            link = os.fsdecode(node.link)
            values = dict(node.xattrs) if kind in ATTRIBUTED else {}
            yield (
                path,
                (kind, mode, seen_owner(node.uid), node.mtime // SECOND, link, content, values),
            )
            yield from walk(f"{path}/", node)

    return dict(walk("", root))


def looked_into(indexes: list[LayerIndex], tars: list[bytes]) -> dict[str, object]:
    """What the layers show together, seen through their indexes."""
    found: dict[str, object] = {}
    tree = ImageTree(indexes)
    for each in tree.walk(""):
        entry = each.entry
        assert tree.get(entry.path) == each
        mode = 0 if entry.kind == Kind.SYMLINK else entry.mode
        values = dict(entry.xattrs) if entry.kind in ATTRIBUTED else {}
        content = tars[each.layer][each.offset : each.offset + entry.size]
        found[entry.path] = (
            *(entry.kind, mode, seen_owner(entry.uid), entry.mtime // SECOND, entry.link),
            *(content if entry.kind == Kind.FILE else b"", values),
        )
    return found


def compare(layers: list[list[Member]]) -> None:
    with scratch() as top:
        trees: list[Path] = []
        images = Images(top)
        indexes: list[LayerIndex] = []
        tars: list[bytes] = []
        whole = top / "whole"
        for number, members in enumerate(layers):
            data = tar_of(members)
            tree, before = top / str(number), top / f"before{number}"
            tree.mkdir()
            before.mkdir()
            copy_tree(str(whole), str(before))
            lower = [str(one) for one in reversed(trees)]
            stacked = partial(apply, whiteouts=OverlayWhiteouts("user"), lower=lower)
            index = parse(index_of(io.BytesIO(data)))
            refusals = {
                refusal(apply, io.BytesIO(data), str(whole), Removal()),
                refusal(stacked, io.BytesIO(data), str(tree)),
                refusal(images.add, data),
                refusal(ImageTree, [*indexes, index]),
            }
            assert len(refusals) == 1, refusals
            if refusals != {""}:
                event("refused")
                return
            for place, below in ((whole, [str(before)]), (tree, lower)):
                checked = verify(io.BytesIO(data), str(place), below, whole=place == whole)
                assert list(checked) == []
            trees.append(tree)
            indexes.append(index)
            tars.append(data)
        event("the lowest is a tree" if indexes[0].is_tree else "shown")
        seen = on_disk([whole])
        for name, other in (
            ("overlay", on_disk(trees)),
            ("erofs", in_images(images)),
            ("index", looked_into(indexes, tars)),
            (
                "index",
                looked_into([LayerIndex(lines=i.lines, is_tree=False) for i in indexes], tars),
            ),
        ):
            assert other == seen, name


def link(path: str, target: str, mode: int = 0o600) -> Member:
    return Entry(path, Kind.HARDLINK, mode, link=target), b""


def file(path: str) -> Member:
    return Entry(path, Kind.FILE), b"f"


def fifo(path: str) -> Member:
    return Entry(path, Kind.FIFO), b""


@examples(450)
@given(st.lists(LAYER, min_size=1, max_size=3))
@example([[file("a"), link("b", "a")], [link("a/b", "b")]])
@example([[file("a"), link("b", "a", 0o644)], [link("c", "a")]])
@example([[fifo("a")], [link("b", "a")]])
@example([[file("a/b/a")], [link("a/b/b", "a/b/a"), (Entry(whiteout_of("a/b/a"), Kind.FILE), b"")]])
def test_every_view_of_a_stack_is_the_same(layers: list[list[Member]]) -> None:
    compare(layers)


def as_tree(members: list[Member]) -> list[Member]:
    """What of *members* can be a tree as it is, in its order, with all its directories."""
    found: dict[str, Member] = {}
    for entry, content in members:
        is_link = entry.kind == Kind.HARDLINK
        if not split(entry.path)[1].startswith(WHITEOUT) and not is_link:
            found[entry.path] = entry, content
    for path in list(found):
        for parent in list(prefixes(path))[1:]:
            if parent not in found or found[parent][0].kind != Kind.DIRECTORY:
                found[parent] = Entry(parent, Kind.DIRECTORY, 0o755), b""
    for entry, _ in members:
        target = found.get(entry.link)
        parent = found.get(split(entry.path)[0])
        if entry.kind == Kind.HARDLINK and target is not None and entry.path not in found:
            file, inside = target[0], not parent or parent[0].kind == Kind.DIRECTORY
            if file.kind == Kind.FILE and order(entry.path) > order(file.path) and inside:
                file = file._replace(mtime=9 * SECOND)
                found[file.path] = file, target[1]
                same = file._replace(path=entry.path, kind=Kind.HARDLINK, link=file.path)
                if parent or "/" not in entry.path:
                    found[entry.path] = same, b""
    return [found[path] for path in sorted(found, key=order)]


def accepted(layers: list[list[Member]]) -> list[list[Member]]:
    """What of *layers* can be unpacked; how others are refused is tried elsewhere."""
    kept: list[list[Member]] = []
    indexes: list[LayerIndex] = []
    for members in layers:
        taken: list[Member] = []
        for member in members:
            index = index_of(io.BytesIO(tar_of([*taken, member])))
            if not refusal(ImageTree, [*indexes, parse(index)]):
                taken.append(member)
        kept.append(taken)
        indexes.append(parse(index_of(io.BytesIO(tar_of(taken)))))
    return kept


@pytest.mark.campaign
@examples(900)
@given(LAYER)
def test_every_view_of_many_layers_is_the_same(layer: list[Member]) -> None:
    compare(accepted([layer]))


@pytest.mark.campaign
@examples(600)
@given(st.lists(LAYER, min_size=2, max_size=3), st.booleans())
def test_every_view_of_many_stacks_is_the_same(layers: list[list[Member]], orderly: bool) -> None:
    lowest = as_tree(layers[0]) if orderly else layers[0]
    compare(accepted([lowest, *layers[1:]]))
