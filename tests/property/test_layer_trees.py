"""Stacks of layers: unpacked either way and looked up unpacked or not, they are one tree."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocitool.layer.changes.before import Stacked
from ocitool.layer.changes.diff import changes_in_upper, changes_since, write_changes
from ocitool.layer.entry import OPAQUE, WHITEOUT, Entry, Kind, split
from ocitool.layer.index.index import index_of, parse
from ocitool.layer.index.merged import ImageTree
from ocitool.layer.tar.reader import TarReader
from ocitool.layer.unpack.extract import apply
from ocitool.layer.unpack.whiteouts import OverlayWhiteouts, Removal
from tests.fixtures.erofs import Images
from tests.fixtures.examples import examples
from tests.unit.layer.conftest import OPAQUE as OPAQUE_XATTR
from tests.unit.layer.conftest import describe, merged
from tests.unit.layer.tars import mine

PATHS = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join)
MODES = st.sampled_from([0o755, 0o700, 0o2711])
CHANGES = st.one_of(
    st.tuples(st.just("file"), PATHS, st.binary(max_size=3)),
    st.tuples(st.just("dir"), PATHS, MODES),
    st.tuples(
        st.just("symlink"),
        PATHS,
        st.sampled_from(["a", "../b", "/a/b", "nowhere", "/", "../../../b"]),
    ),
    st.tuples(st.just("fifo"), PATHS, st.none()),
    st.tuples(st.just("whiteout"), PATHS, st.none()),
    st.tuples(st.just("opaque"), PATHS | st.just(""), st.none()),
)
LAYERS = st.lists(CHANGES, max_size=6)
Change = tuple[str, str, object]


def layer(changes: list[Change], below: Path) -> bytes:
    """The tar of *changes*, made consistent: what is in a directory makes it one."""
    entries: dict[str, tuple[Entry, bytes]] = {}
    whiteouts: dict[str, Entry] = {}
    for number, (kind, path, value) in enumerate(changes):
        mtime = (number + 1) * 10**9
        parent, name = split(path)
        if kind == "whiteout":
            whiteout = f"{parent}/{WHITEOUT}{name}" if parent else WHITEOUT + name
            whiteouts[whiteout] = Entry(whiteout, Kind.FILE)
        elif kind == "opaque":
            whiteouts[f"{path}/{OPAQUE}" if path else OPAQUE] = Entry(
                f"{path}/{OPAQUE}" if path else OPAQUE, Kind.FILE
            )
        elif isinstance(value, bytes):
            entries[path] = (Entry(path, Kind.FILE, 0o644, mtime=mtime), value)
        elif isinstance(value, int):
            entries[path] = (Entry(path, Kind.DIRECTORY, value, mtime=mtime), b"")
        elif isinstance(value, str):
            entries[path] = (Entry(path, Kind.SYMLINK, 0o777, mtime=mtime, link=value), b"")
        else:
            entries[path] = (Entry(path, Kind.FIFO, 0o600, mtime=mtime), b"")
    used = [
        path
        for whiteout, path in [(m, split(m)[0]) for m in whiteouts]
        if whiteout.endswith(OPAQUE)
    ]
    for each in [*entries, *(f"{path}/x" for path in used if path)]:
        parent = split(each)[0]
        while parent:
            there = entries.get(parent)
            odd = not os.path.isdir(below / parent)
            odd = odd or any(os.path.islink(below / p) for p in prefixes(parent))
            if (there is None and odd) or (there is not None and there[0].kind != Kind.DIRECTORY):
                entries[parent] = (Entry(parent, Kind.DIRECTORY, 0o755, mtime=10**9), b"")
            parent = split(parent)[0]
    # Whiteouts in what is a link below would be followed there.
    for whiteout in list(whiteouts):
        if any(os.path.islink(below / path) for path in prefixes(split(whiteout)[0])):
            del whiteouts[whiteout]
    for whiteout in list(whiteouts):
        there = [entries[p][0].kind for p in prefixes(split(whiteout)[0]) if p in entries]
        if any(kind != Kind.DIRECTORY for kind in there):
            del whiteouts[whiteout]
    members = [entries[path] for path in sorted(entries)]
    plain = [one if one[1] else one[0] for one in members]
    return (
        mine(*whiteouts.values(), *plain) if len(plain) % 2 else mine(*plain, *whiteouts.values())
    )


def prefixes(path: str) -> Iterator[str]:
    """Yield *path* and every directory it is in."""
    while path:
        yield path
        path = split(path)[0]


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ocitool-") as name:
        top = Path(name)
        (top / "whole").mkdir()
        try:
            os.setxattr(top, OPAQUE_XATTR, b"y")
            os.removexattr(top, OPAQUE_XATTR)
        except OSError as error:
            pytest.skip(f"needs a file system with user attributes: {error}")
        yield top


def shown(trees: list[Path], *, times: bool = True) -> dict[str, object]:
    """What *trees* show together, with times of everything but the top."""
    return {
        path: (describe(place), os.lstat(place).st_mtime_ns // 10**9 if times else 0)
        for path, place in merged(trees).items()
    }


def looked_up(image: ImageTree) -> dict[str, object]:
    """What an image tree has, without contents and times."""
    found = {}
    for one in image.walk(""):
        entry = one.entry
        assert image.get(entry.path) == one
        if entry.kind == Kind.SYMLINK:
            found[entry.path] = ("symlink", entry.link)
        else:
            found[entry.path] = (entry.kind, oct(entry.mode))
    return found


@examples(60)
@given(st.lists(LAYERS, min_size=1, max_size=4))
@example([[("dir", "a/b", 0o700)], [("opaque", "a/b", None), ("whiteout", "a", None)]])
@example([[("dir", "a/b", 0o700)], [("whiteout", "a", None), ("opaque", "a/b", None)]])
@example([[("dir", "a/b", 0o700)], [("file", "a/b/b", b""), ("opaque", "a", None)]])
def test_all_ways_to_see_a_stack_agree(layers: list[list[Change]]) -> None:
    with scratch() as top:
        trees: list[Path] = []
        indexes = []
        images = Images(top)
        for number, changes in enumerate(layers):
            data = layer(changes, top / "whole")
            indexes.append(parse(index_of(io.BytesIO(data))))
            apply(io.BytesIO(data), str(top / "whole"), Removal())
            tree = top / str(number)
            tree.mkdir()
            lower = [str(one) for one in reversed(trees)]
            apply(io.BytesIO(data), str(tree), OverlayWhiteouts("user"), lower=lower)
            trees.append(tree)
            images.add(data)
        whole = shown([top / "whole"], times=False)
        assert shown(trees, times=False) == whole
        assert images.shows() == whole
        image = ImageTree(indexes)
        assert looked_up(image) == {path: found[0][:2] for path, found in whole.items()}
        for path in whole:
            real = os.path.realpath(top / "whole" / split(path)[0])
            if real.startswith(str(top / "whole")) and not os.path.islink(top / "whole" / path):
                assert image.resolve(path) == os.path.relpath(
                    f"{real}/{split(path)[1]}", top / "whole"
                )


@examples(40)
@given(LAYERS, LAYERS, st.lists(st.tuples(PATHS, PATHS), max_size=2))
def test_what_changed_since_a_copy_makes_the_same_of_another(
    base: list[Change], changes: list[Change], moves: list[tuple[str, str]]
) -> None:
    with scratch() as top:
        before, tree, again = top / "whole", top / "tree", top / "again"
        apply(io.BytesIO(layer(base, before)), str(before), Removal())
        for copy in (tree, again):
            shutil.copytree(before, copy, symlinks=True, copy_function=copy_one)
        since = tick(top, tree)
        for old, new in moves:
            if os.path.lexists(tree / old) and (tree / split(new)[0]).is_dir():
                try:
                    os.rename(tree / old, tree / new)
                except OSError:
                    continue  # into itself, or over what is not empty
        apply(io.BytesIO(layer(changes, tree)), str(tree), Removal())
        data = bytearray()
        write_changes(changes_since(str(tree), str(before), since), data.extend)
        apply(io.BytesIO(bytes(data)), str(again), Removal())
        assert shown([again]) == shown([tree])


def copy_one(source: str, target: str) -> str:
    """Copy as `shutil.copy2` does, FIFOs as FIFOs."""
    if stat_is_fifo(source):
        os.mkfifo(target)
        shutil.copystat(source, target)
        return target
    return str(shutil.copy2(source, target))


def stat_is_fifo(path: str) -> bool:
    return os.lstat(path).st_mode & 0o170000 == 0o010000


def tick(top: Path, tree: Path) -> int:
    """Return a change time later than those of all of *tree*."""
    last = max(os.lstat(path).st_ctime_ns for path in (tree, *tree.rglob("*")))
    now = 0
    while now <= last:
        (top / "mark").write_text("")
        os.utime(top / "mark")
        now = (top / "mark").stat().st_ctime_ns
    return now


@examples(40)
@given(LAYERS, LAYERS)
def test_an_overlay_upper_is_what_its_layer_unpacks_to(
    base: list[Change], changes: list[Change]
) -> None:
    with scratch() as top:
        lower, upper, again = top / "whole", top / "upper", top / "again"
        for place in (upper, again):
            place.mkdir()
        whiteouts = OverlayWhiteouts("user")
        apply(io.BytesIO(layer(base, lower)), str(lower), Removal())
        data = layer(changes, lower)
        apply(io.BytesIO(data), str(upper), whiteouts, lower=[str(lower)])
        written = bytearray()
        write_changes(
            changes_in_upper(str(upper), OPAQUE_XATTR, Stacked([str(lower)])), written.extend
        )
        apply(io.BytesIO(bytes(written)), str(again), whiteouts, lower=[str(lower)])
        assert shown([lower, again]) == shown([lower, upper])
        apply(io.BytesIO(bytes(written)), str(lower), Removal())
        assert shown([lower], times=False) == shown([lower, upper], times=False)


@examples(60)
@given(LAYERS, LAYERS)
def test_an_upper_and_a_copy_make_the_same_layer(base: list[Change], changes: list[Change]) -> None:
    with scratch() as top:
        before, upper, tree = top / "whole", top / "upper", top / "tree"
        upper.mkdir()
        apply(io.BytesIO(layer(base, before)), str(before), Removal())
        shutil.copytree(before, tree, symlinks=True, copy_function=copy_one)
        since = tick(top, tree)
        data = layer(changes, before)
        apply(io.BytesIO(data), str(upper), OverlayWhiteouts("user"), lower=[str(before)])
        apply(io.BytesIO(data), str(tree), Removal())
        one, other = bytearray(), bytearray()
        stacked = Stacked([str(before)])
        write_changes(changes_in_upper(str(upper), OPAQUE_XATTR, stacked), one.extend)
        write_changes(changes_since(str(tree), str(before), since), other.extend)
        assert described(bytes(one)) == described(bytes(other))


def described(data: bytes) -> list[Entry]:
    return list(TarReader(io.BytesIO(data)))
