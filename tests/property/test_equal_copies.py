"""Different instructions that have to make one tree, over random contexts."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest

from ocitool import BuildOptions, Store, build
from ocitool.errors import OcitoolError
from tests.fixtures import images
from tests.fuzz.contexts import RandomContext, random_context
from tests.fuzz.dockerfiles import escaped

#: How many contexts; a campaign tries OCITOOL_CONTEXTS of them.
_FEW: Final = 6
_WILD: Final = set("*?[]\\$\"'\n")

Recipe = tuple[str, str]  # a Dockerfile, and an ignore file
Pair = tuple[Recipe, Recipe]


def _plain(context: RandomContext, *kinds: str) -> list[str]:
    return [path for path in context.paths(*kinds) if not set(path) & _WILD]


def _copy(flags: str, *words: str) -> str:
    return f"COPY {flags}{json.dumps(words)}\n"


def _from(lines: str, ignore: str = "") -> Recipe:
    return f"FROM scratch\n{lines}", ignore


def _stage(dice: random.Random, context: RandomContext) -> Pair:
    """Through another stage."""
    through = "FROM scratch AS a\nCOPY . /\nFROM scratch\n" + _copy("--from=a ", "/", "/x/")
    return _from(_copy("", ".", "/x/")), (through, "")


def _linked(dice: random.Random, context: RandomContext) -> Pair:
    """With --link, where nothing is there."""
    source = dice.choice([".", *_plain(context, "file", "directory", "link")])
    to = dice.choice(("/x/", "/x/y", "/", "x"))
    return _from(_copy("", source, to)), _from(_copy("--link ", source, to))


def _one_by_one(dice: random.Random, context: RandomContext) -> Pair:
    """Several sources, and an instruction for each."""
    sources = dice.choices([".", *_plain(context, "file", "directory", "link")], k=3)
    each = "".join(_copy("", source, "/x/") for source in sources)
    return _from(_copy("", *sources, "/x/")), _from(each)


def _wildcard(dice: random.Random, context: RandomContext) -> Pair:
    """A wildcard, and what it matches."""
    paths = [entry.path for entry in context.entries if "/" not in entry.path]
    pattern = dice.choice(("*", "a*", "*b", "?", "*.txt", "[^a]*"))
    found = sorted(path for path in paths if fnmatchcase(path, pattern.replace("^", "!")))
    named = [escaped(path, "\\") for path in found]
    return _from(_copy("", pattern, "/x/")), _from(_copy("", *named, "/x/") if named else "")


def _excluded(dice: random.Random, context: RandomContext) -> Pair:
    """--exclude, and an ignore file with the same rules."""
    top = dice.choice(_plain(context, "directory") or ["none"])
    inside = [path.removeprefix(f"{top}/") for path in _plain(context, "file", "directory")]
    pieces = ["*", "**", "?", "a*", "*.txt", "**/a", "[!a]*", "**/*b", *inside]
    rules = [dice.choice(("", "", "!")) + dice.choice(pieces) for _ in range(dice.randint(1, 3))]
    rules = [rule for rule in rules if " " not in rule and "#" not in rule and "!!" not in rule]
    flags = "".join(f"--exclude={rule} " for rule in rules)
    text = "".join(f"{'!' * (rule[0] == '!')}/{top}/{rule.lstrip('!')}\n" for rule in rules)
    return _from(_copy(flags, f"{top}/", "/x/")), _from(_copy("", f"{top}/", "/x/"), text)


def _with_parents(dice: random.Random, context: RandomContext) -> Pair:
    """--parents, and an ignore file that leaves all else out."""
    paths = [path for path in _plain(context, "file", "directory") if path.isprintable()]
    if not paths:
        return _from(""), _from("")
    sources = dice.sample(paths, min(len(paths), 2))
    rules = "*\n" + "".join(f"!{source}\n" for source in sources)
    return _from(_copy("--parents ", *sources, "/x/")), _from(_copy("", ".", "/x/"), rules)


def _owned(dice: random.Random, context: RandomContext) -> Pair:
    """--chown at once, and of another stage's files."""
    through = "FROM scratch AS a\nCOPY . /\nFROM scratch\n" + _copy(
        "--from=a --chown=7:8 ", "/", "/x/"
    )
    return _from(_copy("--chown=7:8 ", ".", "/x/")), (through, "")


RELATIONS: Final = (
    _stage, _linked, _one_by_one, _wildcard, _excluded, _with_parents, _owned,
)  # fmt: skip


class Project:
    """A context on the disk, and a store."""

    def __init__(self, top: Path, store: Store) -> None:
        self._top = top
        self._store = store

    def tree(self, context: RandomContext, recipe: Recipe) -> object:
        """Return what the image of a recipe holds, "refused" if there is none."""
        shutil.rmtree(self._top, ignore_errors=True)
        self._top.mkdir()
        ignores = {".dockerignore": recipe[1]} if recipe[1] else {}
        replace(context, ignores=ignores).lay_out(self._top)
        options = BuildOptions(context=str(self._top), dockerfile=recipe[0].encode())
        try:
            made = build(options, store=self._store)
        except OcitoolError:
            return "refused"
        layout = Path(self._store.layout.root) / "oci"
        found = images.tree(images.layout_image(layout, str(made.digest))[1])
        return {path: said for path, said in found.items() if not path.endswith(".dockerignore")}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Store.open(str(tmp_path / "store"), driver="vfs") as store:
        yield Project(tmp_path / "context", store)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.usefixtures("root_only")
def test_two_ways_to_copy_make_one_tree(
    relation: Callable[[random.Random, RandomContext], Pair], project: Project
) -> None:
    for seed in range(int(os.environ.get("OCITOOL_CONTEXTS", _FEW))):
        dice = random.Random(f"{relation.__name__} {seed}")
        context = random_context(dice)
        one, other = relation(dice, context)
        assert project.tree(context, one) == project.tree(context, other), (seed, one, other)
