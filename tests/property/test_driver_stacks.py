"""Random stacks of many layers: what the kernel shows of them is the same with every driver.

With erofs also the same whether the images are stacked or merged into one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from ocitool.drivers import erofs, select
from ocitool.drivers.conformance.harness import run_inside
from ocitool.drivers.conformance.layers import (
    directory,
    file,
    hardlink,
    opaque,
    stream,
    symlink,
    tar,
    whiteout,
)
from ocitool.errors import LayerError
from tests.fixtures.examples import examples
from tests.fixtures.tree_listing import LOOK
from tests.fixtures.trees import remove_tree

PATHS = st.lists(st.sampled_from("ab\u00e4"), min_size=1, max_size=3).map("/".join)
OWNERS = st.sampled_from([(0, 0), (7, 8)])
MODES = st.sampled_from([0o644, 0o4755, 0o600])
ATTRIBUTES = st.sampled_from([{}, {"user.a": b"1"}, {"user.b": b""}])
TARGETS = st.sampled_from(["a", "../b", "/a/b", "/", "../../../a", "b/\u00e4"])
MEMBERS = st.one_of(
    st.builds(
        lambda path, text, owner, mode, kept: file(path, text, owner, mode=mode, xattrs=kept),
        PATHS, st.binary(max_size=3), OWNERS, MODES, ATTRIBUTES,
    ),
    st.builds(directory, PATHS, OWNERS, st.sampled_from([0o755, 0o1700])),
    st.builds(symlink, PATHS, TARGETS, OWNERS),
    st.builds(
        lambda path, target, owner, mode, kept: hardlink(
            path, target, owner, mode=mode, xattrs=kept
        ),
        PATHS, PATHS, OWNERS, MODES, ATTRIBUTES,
    ),
    st.builds(whiteout, PATHS),
    st.builds(opaque, PATHS),
)  # fmt: skip
LAYER = st.lists(MEMBERS, max_size=6)
LAYERS = st.lists(LAYER, min_size=9, max_size=12)
DRIVERS = ("vfs", "overlay", "erofs")


@pytest.fixture(scope="module", autouse=True)
def every_driver():
    for name in DRIVERS:
        with tempfile.TemporaryDirectory(prefix="probe-") as place:
            if not (found := select.probe(name, f"{place}/driver")).ok:
                pytest.skip(f"needs {name}: {found.reason}")


def unpack(driver, layers):
    """Unpack what can be unpacked; returns the names, and which layers were refused."""
    names, refused = [], []
    for at, members in enumerate(layers):
        driver.begin("t", names)
        try:
            driver.apply("t", names, stream(tar(members).getvalue()))
        except LayerError:
            driver.discard("t")
            refused.append(at)
        else:
            driver.commit("t", f"{at:064x}")
            names.append(f"{at:064x}")
    return names, refused


def shown(driver, names):
    """What a sandbox sees, except which names are one file: overlays know that of a layer only."""
    found = run_inside(driver.view(names), LOOK)
    for listing in found.values():
        listing.pop("same", None)
    found["."]["time"] = 0
    return found


@examples(25)
@given(LAYERS)
def test_every_driver_shows_the_same(layers):
    found = {}
    home = Path(tempfile.mkdtemp(prefix="stacks-"))
    try:
        for name in DRIVERS:
            driver = select.make(name, str(home / name))
            names, refused = unpack(driver, layers)
            found[name] = refused, shown(driver, names)
            if name == "erofs" and len(names) > erofs._MOST_STACKED:
                assert (home / "erofs/merged" / names[-1]).exists()
                (home / "erofs/merged" / names[-1]).unlink()
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(erofs, "_MOST_STACKED", len(layers))
                    found["stacked"] = refused, shown(driver, names)
                assert not (home / "erofs/merged" / names[-1]).exists()
        for name, each in found.items():
            note(name)
            assert each == found["vfs"]
    finally:
        remove_tree(home)
