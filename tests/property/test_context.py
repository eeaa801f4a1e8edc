"""The digest of a context tells two trees apart exactly if what COPY would take differs."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from ocitool.builder.context.context import Context, Item
from ocitool.builder.context.ignore.rules import IgnoreRules
from ocitool.builder.context.parents_exclude import ON_THE_WAY, Selection
from ocitool.layer.entry import Kind, order
from ocitool.store.database.build_cache import BuildCache
from ocitool.store.database.database import Database
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
EVERYTHING = Selection()
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


#: What --exclude and --parents say, beside the ignore file.
SELECTIONS = st.builds(
    Selection,
    exclude=st.lists(st.sampled_from(["a", "*", "!b", "**/a", "!**/b", "!a/b"]), max_size=2).map(
        tuple
    ),
    include=st.sampled_from(["", "", "a", "a/*", "**/b", "b/a", "**"]),
)


def selected(context: Context, selection: Selection) -> Item:
    """Everything in the context that *selection* takes."""
    (item,) = context.find(".")
    return item._replace(selection=selection)


def taken(context: Context, selection: Selection = EVERYTHING) -> list[tuple]:
    """What COPY of everything takes, without owners and times; content by its text.

    A directory that only leads to what is selected is not the same as one that is selected: where
    there is one already, that keeps its owner and time.
    """
    item = selected(context, selection)
    found = []
    with context.reader() as open_file:
        for entry, path in context.walk(item):
            text = ""
            if entry.kind == Kind.FILE:
                with open(open_file(path), encoding="utf-8") as file:
                    text = file.read()
            leads_on = path == ON_THE_WAY
            found.append((entry.path, entry.kind, entry.mode, entry.link, text, leads_on))
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


@examples(150)
@given(root=ROOTS, other=ROOTS, rules=RULES, one=SELECTIONS, two=SELECTIONS)
@example(
    root={},
    other={"a": ("dir", {"a": ("link", "a", 0o777)}, 0o755)},
    rules=[],
    one=Selection(),
    two=Selection(include="a/*"),
)
def test_equal_exactly_if_the_same_is_selected(root, other, rules, one, two):
    """Also where one stat cache serves both selections, and knows the directories already."""
    with tempfile.TemporaryDirectory(prefix="ocitool-property-") as folder:
        place = Path(folder)
        database = Database(os.fspath(place / "db.sqlite"))
        parsed = IgnoreRules.parse("\n".join(rules).encode(), name=".dockerignore")
        results = []
        for number, tree in enumerate((root, other)):
            make(place / str(number), ("dir", tree, 0o755))
            for selection in (one, EVERYTHING, two):
                digests = set()
                for _ in range(2):
                    context = Context(os.fspath(place / str(number)), parsed, BuildCache(database))
                    digests.add(context.digest(selected(context, selection)))
                    context.close()
                (digest,) = digests
                results.append((digest, taken(context, selection)))
        for digest, found in results:
            assert [digest == each for each, _ in results] == [found == each for _, each in results]


@examples(150)
@given(root=ROOTS, selection=SELECTIONS)
def test_a_selection_takes_what_its_rules_say_of_each_path(root, selection):
    """Against a plain definition: each path asked by itself, and directories that lead to one."""
    with tempfile.TemporaryDirectory(prefix="ocitool-property-") as folder:
        top = Path(folder) / "top"
        make(top, ("dir", root, 0o755))
        database = Database(os.fspath(Path(folder) / "db.sqlite"))
        context = Context(os.fspath(top), IgnoreRules(), BuildCache(database))
        excluded = IgnoreRules.parse("\n".join(selection.exclude).encode())
        included = IgnoreRules.parse(f"*\n!{selection.include or '*'}".encode())
        paths = [entry[0] for entry in taken(context)]
        wanted = {
            path for path in paths if not excluded.ignored(path) and not included.ignored(path)
        }
        wanted |= {path for path in paths if any(each.startswith(f"{path}/") for each in wanted)}
        assert {entry[0] for entry in taken(context, selection)} == wanted
