"""The digest of a context tells two trees apart exactly if what COPY would take differs."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ocitool.builder.context.context import Context
from ocitool.builder.context.ignore import IgnoreRules
from ocitool.layer.entry import Kind, order
from ocitool.store.build_cache import BuildCache
from ocitool.store.database import Database
from tests.fixtures.examples import examples

NAMES = st.sampled_from(["a", "b", "a-b", "a b", "ä", ".x"])
CONTENT = st.sampled_from(["", "1", "22"])
FILES = st.tuples(st.just("file"), CONTENT, st.sampled_from([0o644, 0o755, 0o4711]))
LINKS = st.tuples(st.just("link"), st.sampled_from(["a", "../b", "/c"]), st.just(0o777))
TREES = st.recursive(
    st.one_of(FILES, LINKS),
    lambda inner: st.tuples(
        st.just("dir"), st.dictionaries(NAMES, inner, max_size=3), st.sampled_from([0o755, 0o700])
    ),
    max_leaves=6,
)
ROOTS = st.dictionaries(NAMES, TREES, max_size=3)
RULES = st.lists(
    st.sampled_from(["a", "*", "!b", "**/a", "!**/b", "a/*", "!a/a", "a-*"]), max_size=3
)


def make(place: Path, tree: tuple) -> None:
    """Make one file, link or directory."""
    kind, content, mode = tree
    if kind == "link":
        place.symlink_to(content)
        return
    if kind == "file":
        place.write_text(content)
    else:
        place.mkdir()
        for name, inner in content.items():
            make(place / name, inner)
    place.chmod(mode)


def taken(context: Context) -> list[tuple]:
    """What COPY of everything takes, without owners and times; content by its text."""
    (item,) = context.find(".")
    found = []
    for entry, place in context.walk(item):
        text = Path(place).read_text() if entry.kind == Kind.FILE else ""
        found.append((entry.path, entry.kind, entry.mode, entry.link, text))
    return found


@examples(150)
@given(first=ROOTS, second=ROOTS, rules=RULES, other_rules=RULES)
def test_equal_exactly_if_the_same_is_taken(first, second, rules, other_rules):
    place = Path(tempfile.mkdtemp(prefix="ocitool-property-"))
    try:
        database = Database(os.fspath(place / "db.sqlite"))
        results = []
        for number, (root, lines) in enumerate(((first, rules), (second, other_rules))):
            top = place / str(number)
            make(top, ("dir", root, 0o755))
            parsed = IgnoreRules.parse("\n".join(lines).encode(), name=".dockerignore")
            digests = set()
            for _ in range(2):  # with what an earlier build has found out, it is the same
                context = Context(os.fspath(top), parsed, BuildCache(database))
                (item,) = context.find(".")
                digests.add(context.digest(item))
                context.close()
            (digest,) = digests
            results.append((digest, taken(context)))
        (one, taken_one), (two, taken_two) = results
        assert (one == two) == (taken_one == taken_two)
        keys = [order(entry[0]) for entry in taken_one]
        assert keys == sorted(keys)
    finally:
        shutil.rmtree(place)
