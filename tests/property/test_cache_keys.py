"""Cache keys of COPY: whatever changes the layer changes the key, and nothing else does."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

from ocitool import BuildOptions, Store, build
from ocitool.builder.options import BuildResult
from ocitool.drivers.conformance.layers import Member
from ocitool.layer.entry import Entry, Kind, identity
from tests.fixtures.examples import examples
from tests.fixtures.stores import put_image

#: Two values of each field; a field without any fails the first test.
VALUES: Final[Mapping[str, list[Any]]] = {
    "path": ["a", "b"],
    "kind": [Kind.FILE, Kind.FIFO],
    "mode": [0o644, 0o4711],
    "uid": [0, 7],
    "gid": [0, 7],
    "size": [0, 3],
    "mtime": [0, 5],
    "link": ["", "x"],
    "device": [(0, 0), (1, 3)],
    "xattrs": [{}, {"user.a": b"1"}],
}
OWNERS = {"uid", "gid"}


@given(
    st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VALUES.items()}),
    st.sampled_from(sorted(Entry._fields)),
    st.booleans(),
)
def test_every_field_of_an_entry_counts_but_times_and_owners_that_are_set(fields, name, owners):
    other = fields | {name: VALUES[name][fields[name] == VALUES[name][0]]}
    one, two = identity(Entry(**fields), owners=owners), identity(Entry(**other), owners=owners)
    counts = name != "mtime" and (owners or name not in OWNERS)
    assert (one != two) == counts


# -- what a source holds: one node changes from one build to the next ----------------------

#: A user cannot look into its own directory without execute permission, root can.
MODES = [0o644, 0o755, 0o4711] if os.geteuid() == 0 else [0o744, 0o755, 0o4711]
KINDS = st.sampled_from(["file", "dir", "fifo", "symlink", "hardlink", "nothing"])
NODE = st.fixed_dictionaries(
    {
        "kind": KINDS,
        "mode": st.sampled_from(MODES),
        "text": st.sampled_from(["", "1", "22"]),
        "link": st.sampled_from(["f", "g"]),
        "xattr": st.sampled_from(["", "1", "2"]),
        "uid": st.sampled_from([0, 5]),
        "mtime": st.sampled_from([1, 2]),
    }
)
CHANGE = st.sampled_from(["kind", "mode", "text", "link", "xattr", "uid", "mtime"])
#: The directory that is copied; the node is one of its names, ``d/n``, and a parent of ``d/n/x``.
NAME: Final = "d/n"
PLAIN: Final = {
    "kind": "dir",
    "mode": 0o755,
    "text": "",
    "link": "f",
    "xattr": "",
    "uid": 0,
    "mtime": 1,
}


def nodes() -> st.SearchStrategy[tuple[dict[str, Any], dict[str, Any]]]:
    """A node, and the same with another value in one place."""
    return st.tuples(NODE, CHANGE, NODE).map(
        lambda drawn: (drawn[0], drawn[0] | {drawn[1]: drawn[2][drawn[1]]})
    )


def lay_out(top: Path, node: Mapping[str, Any]) -> None:
    """Make ``d`` with the files f and g, and *node*."""
    (top / "d").mkdir()
    for name in ("f", "g"):
        (top / "d" / name).write_text("content")
    path, kind = top / NAME, node["kind"]
    if kind == "nothing":
        return
    if kind == "symlink":
        path.symlink_to(node["link"])
        return
    if kind == "hardlink":
        path.hardlink_to(top / "d" / node["link"])
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "dir":
        path.mkdir()
        (path / "x").write_text(node["text"])
    else:
        path.write_text(node["text"])
    if node["xattr"] and kind != "fifo":  # the kernel gives user attributes to no FIFO
        os.setxattr(path, "user.a", node["xattr"].encode())
    path.chmod(node["mode"])
    os.utime(path, (node["mtime"], node["mtime"]))


def layer(node: Mapping[str, Any]) -> list[Member]:
    """A layer with the same, and with owners."""
    members: list[Member] = [(Entry("d", Kind.DIRECTORY, 0o755), b"")]
    members += [(Entry(f"d/{name}", Kind.FILE, size=7), b"content") for name in ("f", "g")]
    kinds = {"file": Kind.FILE, "dir": Kind.DIRECTORY, "fifo": Kind.FIFO,
             "symlink": Kind.SYMLINK, "hardlink": Kind.HARDLINK}  # fmt: skip
    kind, text = node["kind"], node["text"].encode() if node["kind"] == "file" else b""
    if kind == "nothing":
        return members
    links = {"symlink": node["link"], "hardlink": f"d/{node['link']}"}
    entry = Entry(
        NAME,
        kinds[kind],
        node["mode"],
        node["uid"],
        size=len(text),
        mtime=node["mtime"] * 10**9,
        link=links.get(kind, ""),
        xattrs={"user.a": node["xattr"].encode()} if node["xattr"] else {},
    )
    members.append((entry, text))
    if kind == "dir":
        inside = node["text"].encode()
        members.append((Entry(f"{NAME}/x", Kind.FILE, size=len(inside)), inside))
    return members


def layers(store: Store, result: BuildResult) -> list[str]:
    """The diff IDs of an image."""
    with store.blobs.open(result.image_id) as config:
        found: list[str] = json.loads(config.read())["rootfs"]["diff_ids"]
    return found


def check(store: Store, first: BuildOptions, second: BuildOptions) -> None:
    """Whether the second build, after the first, gives what it gives without a cache."""
    before = layers(store, build(first, store=store))
    cached = build(second, store=store)
    fresh = layers(store, build(replace(second, no_cache=True), store=store))
    assert layers(store, cached) == fresh
    hit = cached.cached == cached.steps
    if b"--chmod" in (second.dockerfile or b""):  # modes are a part of the key, too
        assert before == fresh or not hit
    else:
        assert hit == (before == fresh)


@examples(20)
@given(nodes(), st.sampled_from(["COPY d /x", "COPY --chown=1:2 . /", "ADD --chmod=600 d /x/"]))
@example((PLAIN, PLAIN | {"xattr": "1"}), "COPY d /x")
@example((PLAIN | {"kind": "file"}, PLAIN | {"kind": "file", "xattr": "1"}), "ADD d /x")
def test_of_the_build_context(pair, line):
    with tempfile.TemporaryDirectory() as place, Store.open(f"{place}/store") as store:
        given = []
        for at, node in enumerate(pair):
            (top := Path(place) / f"{at}").mkdir()
            lay_out(top, node)
            given.append(
                BuildOptions(context=top, dockerfile=f"FROM scratch\n{line}", source_date_epoch=0)
            )
        check(store, *given)


@examples(20)
@given(nodes(), st.sampled_from(["d /x", "--chown=1:2 / /", "d/n /y/"]))
@example((PLAIN, PLAIN | {"xattr": "1"}), "d /x")
@example((PLAIN, PLAIN | {"uid": 5}), "d /x")
@example((PLAIN, PLAIN | {"uid": 5}), "--chown=1:2 d /x")
def test_of_an_image(pair, line):
    if line.startswith("d/n") and any(node["kind"] == "nothing" for node in pair):
        return
    with tempfile.TemporaryDirectory() as place, Store.open(f"{place}/store") as store:
        given = []
        for at, node in enumerate(pair):
            put_image(store, f"docker.io/library/base{at}:1", layer(node))
            text = f"FROM scratch\nCOPY --from=base{at}:1 {line}"
            given.append(BuildOptions(context=place, dockerfile=text, source_date_epoch=0))
        check(store, *given)
