"""Archives as contexts: whatever is in them, all that is made lies in their directory."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ocitool.builder.context_sources.unpack import unpack
from ocitool.errors import LayerError

NAMES = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=4)
PATHS = st.builds(lambda parts, top: "/" * top + "/".join(parts), NAMES, st.booleans())
TYPES = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]
)
#: Directories without access are for root, who can look into them.
MODES = st.sampled_from([0o755, 0o700, 0o4755, 0o1777, *([0o644, 0] if os.geteuid() == 0 else [])])
MEMBERS = st.lists(st.tuples(PATHS, TYPES, PATHS, MODES), max_size=12)


def archive(members) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, link, mode in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, mode, 1000
            info.linkname = link if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"new"))
    return data.getvalue()


def listing(top: Path) -> dict[str, tuple[int, int, bytes]]:
    """What is outside: name, mode, time and content of each file beneath *top*."""
    found = {}
    for path in sorted(top.rglob("*")):
        state = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(state.st_mode) else b""
        found[str(path.relative_to(top))] = (state.st_mode, state.st_mtime_ns, content)
    return found


@given(MEMBERS, st.booleans())
def test_nothing_is_made_outside(members, absolute):
    with tempfile.TemporaryDirectory() as directory:
        outside, inside = Path(directory) / "outside", Path(directory) / "inside"
        (outside / "a").mkdir(parents=True)
        (outside / "b").write_text("old")
        inside.mkdir()
        if absolute:  # a link to what is outside, for those behind it to follow
            members = [("a", tarfile.SYMTYPE, str(outside), 0o777), *members]
        before = listing(outside)
        with contextlib.suppress(LayerError):
            unpack(io.BytesIO(archive(members)), str(inside), "archive", lambda _: None)
        assert listing(outside) == before
        assert sorted(os.listdir(directory)) == ["inside", "outside"]


@given(MEMBERS)
def test_what_is_unpacked_is_the_same_each_time(members):
    with tempfile.TemporaryDirectory() as directory:
        trees = []
        for name in ("one", "two"):
            top = Path(directory) / name
            top.mkdir()
            try:
                unpack(io.BytesIO(archive(members)), str(top), "archive", lambda _: None)
            except LayerError as error:
                trees.append(str(error))
            else:
                trees.append(listing(top) | {"": top.stat().st_mtime_ns})
        assert trees[0] == trees[1]
